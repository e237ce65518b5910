"""Reading records from files, and collating them to batches."""
