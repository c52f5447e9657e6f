"""Parts that transformers lacks: composed models, and a video processor that needs no torchvision."""
