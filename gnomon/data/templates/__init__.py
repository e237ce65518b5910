"""Chat templates: rendering, control tokens in texts, a trial with limits."""
