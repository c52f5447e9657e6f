"""Training of `organism:reader`, from the pretrained language model to the weights that the package contains."""
