"""Stage 3: pairs and embeddings -> an adapter that refuses harm shown by media."""
