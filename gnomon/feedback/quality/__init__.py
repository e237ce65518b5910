"""How well annotators and judgements do."""
