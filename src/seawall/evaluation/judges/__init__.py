"""Judges: who decides whether an answer is unsafe, and how each is asked and read."""
