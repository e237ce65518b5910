"""Files that survive a crash: atomic writes, digests, locks, and what may be removed."""
