"""Benchmarks and their media, built from questions."""
