"""Selection of prompts, pairs and items to judge, and their priority."""
