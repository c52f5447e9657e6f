"""The open world: phrases, their images, texts about them, and the data of a demo."""
