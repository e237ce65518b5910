"""How many judgements a question takes."""
