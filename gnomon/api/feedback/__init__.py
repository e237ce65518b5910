"""Python calls behind `gnomon feedback`."""
