"""Benchmarks: the files as published, read into items, and asked as tasks of Inspect."""
