"""One protocol for everything that scores."""
