"""Model cards: the README.md of a saved model, as people and the Hugging Face hub read it."""
