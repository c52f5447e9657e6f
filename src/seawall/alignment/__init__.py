"""Stage 3: alignment pairs and embeddings -> an adapter that refuses harm shown by media."""
