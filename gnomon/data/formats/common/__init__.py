"""Parts that several formats share: prompts and answers, votes, verdicts, written rows."""
