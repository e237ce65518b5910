"""Runtime of both loops: processes, memory, checkpoints, optimizers."""
