"""`organism:reader`: a pretrained language model with a small tower that reads drawn text, and its open world."""
