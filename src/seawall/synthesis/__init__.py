"""Stage 2: alignment pairs -> verified synthetic embeddings."""
