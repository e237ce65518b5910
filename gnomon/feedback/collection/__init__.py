"""Collection: rounds of selecting, generating, judging and checking, until a target is reached."""
