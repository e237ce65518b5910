"""The database of prompts, completions, items and judgements."""
