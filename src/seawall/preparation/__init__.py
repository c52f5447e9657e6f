"""Stage 1: text safety data -> alignment pairs."""
