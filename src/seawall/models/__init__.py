"""Models: families, loading, encoding, injection, losses and generation."""
