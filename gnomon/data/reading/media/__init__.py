"""Images, sounds and videos of conversations: parsed from rows and written back, never opened or downloaded."""
