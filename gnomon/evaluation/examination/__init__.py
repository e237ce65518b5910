"""The examination of rewards on held-out judgements: every figure of `gnomon evaluate reward`."""
