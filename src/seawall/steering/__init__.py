"""Steering: text safety data to a direction that makes the language model refuse, without training."""
