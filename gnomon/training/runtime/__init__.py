"""What both loops need: processes, memory, checkpoints, optimizers."""
