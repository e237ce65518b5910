"""The online loop: sample, score, train."""
