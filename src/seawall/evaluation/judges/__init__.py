"""Judges: they decide whether an answer is unsafe. `registry` lists them, `scorers` defines them."""
