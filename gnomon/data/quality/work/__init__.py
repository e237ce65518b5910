"""Checked rows on the disk, from which an interrupted cleaning goes on."""
