"""Stage `build`: questions of a benchmark -> the benchmark with its media."""
