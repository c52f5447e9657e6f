"""The artifacts through which the stages meet, and the types of what is in them."""
