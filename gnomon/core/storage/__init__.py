"""Files that survive a crash: atomic writes, digests, locks, ownership."""
