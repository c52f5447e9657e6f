"""Parts that transformers does not have: composed models, and a video processor without torchvision."""
