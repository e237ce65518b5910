"""The loop that samples, scores and learns."""
