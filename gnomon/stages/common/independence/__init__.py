"""Whether the judges of an evaluation, and its prompts, took part in the training."""
