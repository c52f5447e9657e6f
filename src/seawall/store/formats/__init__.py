"""Files that other programs wrote: their encodings, JSON in its usual shapes, and conversations."""
