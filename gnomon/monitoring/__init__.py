"""What a run tells others while it goes on."""
