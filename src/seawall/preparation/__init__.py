"""Stage 1, preparation: text safety data to alignment pairs."""
