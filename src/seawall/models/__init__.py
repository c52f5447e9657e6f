"""Models: where their parts are, how they are loaded, asked, answered and injected into."""

from typing import Literal

Precision = Literal["fp32", "bf16", "4bit"]
"""What `load_model` can load a model in; `4bit` is its language model alone, by bitsandbytes."""
