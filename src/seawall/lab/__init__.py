"""The laboratory: small built-in models, their benchmark and judge, and the demo that runs the whole method on them."""
