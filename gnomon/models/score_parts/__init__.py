"""What a reward model has beside its head: heads of named scores, a gate over them, a tie parameter."""
