"""The web server: the page where people judge, and the pages of those who run it."""
