"""The phrases, media and texts of the built-in models."""
