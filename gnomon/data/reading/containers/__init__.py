"""Readers of containers.

A reader yields a row that it cannot read as the reason, without the file's name or the position, and raises a
`DataError`, likewise without the name, for a file that it cannot read at all.
"""
