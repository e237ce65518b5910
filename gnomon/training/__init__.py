"""Two loops: offline and online."""
