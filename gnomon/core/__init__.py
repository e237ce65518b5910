"""What crosses layers: types, settings, errors, the run folder."""
