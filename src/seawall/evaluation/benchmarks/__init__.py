"""Benchmarks as published, read into items, and the same as tasks of Inspect."""
