"""From an example to text, by the model's chat template, and from rows of tokens to tensors."""
