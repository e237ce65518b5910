"""Records rendered with a chat template, as the trainer reads them, for people to look at."""
