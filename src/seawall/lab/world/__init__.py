"""The world of the built-in models: its phrases, the media that show them, and the texts about them."""
