"""Which prompts, pairs and items are worth judging."""
