"""A short run of the built-in image model, which shows whether Seawall works on this machine."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path

from seawall.errors import EngineError

TOLERANCE = 1e-3
"""Largest difference between the losses of a real and of an injected embedding, in nats per token."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelfTest:
    """What a short run of the built-in image model gave."""

    passed: bool
    seconds: float
    """Wall time with loading, in seconds."""
    device: str = ""
    error: str = ""
    """What went wrong. Empty if it passed."""


def run_self_test() -> SelfTest:
    """Run the built-in image model on the device that the stages would use. An error becomes part of the result.

    The model names what a harmless image shows. Then the image's encoder output is injected in place of the image: the
    loss of the answer must be the same, and its gradient must reach the injected tensor.
    """
    started, device, error = time.perf_counter(), "", ""
    try:
        device = _try_model()
    except Exception as fault:  # whatever is wrong with this machine belongs into the report
        error = hide_home(f"{type(fault).__name__}: {(str(fault).strip().splitlines() or ['no message'])[0]}")
    seconds = round(time.perf_counter() - started, 2)
    return SelfTest(passed=not error, seconds=seconds, device=device, error=error)


def _try_model() -> str:
    """Run the steps of the self-test, and return the name of the device.

    Raises:
        EngineError: A step gave a wrong result.
    """
    from PIL import Image

    from seawall import prompts
    from seawall.lab.world.media import GENERATORS
    from seawall.lab.world.phrases import list_phrases
    from seawall.models.chat import BLANK, Example
    from seawall.models.encode import encode_media
    from seawall.models.generate import generate
    from seawall.models.load import load_model
    from seawall.models.losses import example_losses
    from seawall.synthesis.engines import find_devices

    device = find_devices()[0]
    loaded = load_model("organism:image")
    loaded.model.to(device).requires_grad_(False)
    phrase = list_phrases("train", "harmless")[0]
    question = prompts.format_question(prompts.SEEN.content_questions[0], "image", phrase.category)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        GENERATORS["image"].save_plain(path, phrase.text, 0, 0.9)
        loaded.chat.modality.fit(Image.open(path), loaded.chat.blank_size).save(path)
        (answer,) = generate(loaded, [Example(question=question, medium=path)])
        if not prompts.mentions(answer, phrase.text):
            raise EngineError(f"The model named {answer!r} in an image of {phrase.text!r}.")
        expected = prompts.format_content_answer(phrase.text, "image", phrase.category)
        real = example_losses(loaded, [Example(question=question, answer=expected, medium=path)]).sum().item()
        embedding = encode_media(loaded, [path]).detach().requires_grad_()
    loss = example_losses(loaded, [Example(question=question, answer=expected, medium=BLANK)], embedding).sum()
    if not abs(loss.item() - real) < TOLERANCE:
        raise EngineError(f"The loss is {real:.4f} with an image, but {loss.item():.4f} with its injected embedding.")
    loss.backward()
    if embedding.grad is None or not embedding.grad.isfinite().all() or not embedding.grad.any():
        raise EngineError("No finite gradient reached the injected embedding.")
    return device


def hide_home(text: str) -> str:
    """Return a text in which `~` stands for the home folder, whose name may be that of a person."""
    home = str(Path.home())
    return text if home == "/" else text.replace(home, "~")
