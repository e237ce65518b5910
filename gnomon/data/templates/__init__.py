"""Chat templates: what they write, what may stand in them, and where they are tried."""
