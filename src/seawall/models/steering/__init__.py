"""Steering vectors: their file, and adding one to a layer of the language model while it generates."""
