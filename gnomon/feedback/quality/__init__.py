"""Quality of judgements: metrics and reliability of annotators, agreement, the monitor."""
