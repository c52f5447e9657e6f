"""Every private name of a dependency that Seawall uses, in one place.

Each function states the versions in which the name was seen, and what happens where it is missing: a fallback that only
costs speed, or a `ModelError` that names the dependency. `tests/test_compat.py` has one test for each name, and
`make latest` runs those tests with the newest release of each dependency.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
from collections.abc import Callable, Iterator
from typing import Any

from seawall.errors import ModelError

log = logging.getLogger(__name__)


def find_versions_outside_bounds() -> list[str]:
    """Return a sentence for each installed dependency whose version is outside the bounds of `pyproject.toml`."""
    from packaging.requirements import Requirement

    outside = []
    for line in importlib.metadata.requires("seawall") or ():
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(requirement.name)
            if not requirement.specifier.contains(version, prereleases=True):
                outside.append(f"{requirement.name} {version} is outside the tested range {requirement.specifier}")
    return outside


def warn_about_versions() -> None:
    """Log one warning if installed dependencies are outside the tested versions."""
    if outside := find_versions_outside_bounds():
        log.warning("%s. `make latest` runs the compatibility tests on such versions.", "; ".join(outside))


@contextlib.contextmanager
def replaced(instance: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute another value until the context ends.

    What stood in the instance's own `__dict__` is put back: accelerate keeps a wrapped `forward` there.
    """
    before = vars(instance).get(name)
    setattr(instance, name, value)
    try:
        yield
    finally:
        if before is None:
            delattr(instance, name)
        else:
            setattr(instance, name, before)


# TRL


def labels_only_head() -> contextlib.AbstractContextManager[None]:
    """Let TRL compute logits only at positions with labels, on the CPU as well.

    TRL does so where Triton is available. The head takes about 20 % of the step time of the built-in models.

    Private name: `trl.trainer.utils._use_triton`, seen in TRL 1.16. Without it the training is slower, with equal results.
    """
    from trl.trainer import utils

    if not hasattr(utils, "_use_triton"):
        return contextlib.nullcontext()
    return replaced(utils, "_use_triton", lambda _: True)


def make_dpo_trainer(dataset: Any, order: list[int], **settings: Any) -> Any:
    """Return a `DPOTrainer` whose collator tokenizes, with reference log-probabilities computed once for each row.

    Args:
        dataset: The different rows. TRL computes the reference log-probabilities of these, in its constructor.
        order: Row numbers in the order of training; a row may occur many times.
        settings: Arguments of `DPOTrainer`.

    Private names: the override of `DPOTrainer._prepare_dataset`, and assigning `train_dataset` after the constructor;
    seen in TRL 1.16.

    Raises:
        ModelError: This version of TRL has no `_prepare_dataset`.
    """
    from trl import DPOTrainer

    if not hasattr(DPOTrainer, "_prepare_dataset"):
        raise _missing("trl", "DPOTrainer._prepare_dataset")

    class PrecollatedDPOTrainer(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    trainer: Any = PrecollatedDPOTrainer(train_dataset=dataset, **settings)
    trainer.train_dataset = trainer.train_dataset.select(order)
    return trainer


# Inspect


def prerequisite_error() -> type[Exception]:
    """Return the exception that Inspect prints without a traceback and does not retry.

    Private name: `inspect_ai._util.error.PrerequisiteError`, seen in Inspect 0.3.285. Fallback: `RuntimeError`.
    """
    try:
        from inspect_ai._util.error import PrerequisiteError
    except ImportError:
        return RuntimeError
    return PrerequisiteError


# transformers


@contextlib.contextmanager
def skipped_layer(layer: Any, returns_tuple: bool) -> Iterator[None]:
    """Let a layer return its input until the context ends.

    Relied upon: a layer's first argument is its hidden states, and its `forward` may be replaced on the instance; seen in
    transformers 5.23. The conformance suite checks every family.
    """

    def forward(hidden_states: Any, *_: Any, **__: Any) -> Any:
        return (hidden_states,) if returns_tuple else hidden_states

    with replaced(layer, "forward", forward):
        yield


@contextlib.contextmanager
def beam_copies(model: Any, modality: str) -> Iterator[list[int]]:
    """Yield a list whose only entry is the number of copies of each medium that `generate` makes for its beams.

    Audio rows are repeated before they are encoded. Images and videos are encoded first, and transformers then keeps them in
    `mm_encoder_outputs`: there the number is 1.

    Private name: `GenerationMixin._expand_inputs_for_generation`, seen in transformers 5.23. Without it beam search on synthetic
    sounds fails with the message that the number of items is wrong; greedy decoding works.
    """
    copies = [1]
    expand = getattr(model, "_expand_inputs_for_generation", None)
    if expand is None:
        yield copies
        return

    def counting(*args: Any, expand_size: int = 1, **kwargs: Any) -> Any:
        copies[0] = 1 if (kwargs.get("mm_encoder_outputs") or {}).get(modality) is not None else expand_size
        return expand(*args, expand_size=expand_size, **kwargs)

    with replaced(model, "_expand_inputs_for_generation", counting):
        yield copies


def attention_implementation(config: Any) -> str:
    """Return the attention that a model runs with, such as "sdpa".

    Private name: `PretrainedConfig._attn_implementation`, seen in transformers 5.23.

    Raises:
        ModelError: The name is missing.
    """
    try:
        return str(config._attn_implementation)
    except AttributeError as error:
        raise _missing("transformers", "PretrainedConfig._attn_implementation") from error


def make_processor(cls: type, *parts: Any, **settings: Any) -> Any:
    """Return a processor of a transformers class whose parts need not be of the classes that it checks for.

    The result is an instance of a subclass with the same name, so that saving and loading work as usual.

    Private names: `ProcessorMixin.check_argument_for_proper_class` and the use of `__module__` and `__name__` when saving;
    seen in transformers 5.23.

    Raises:
        ModelError: The check is missing, so that it cannot be turned off.
    """
    if not hasattr(cls, "check_argument_for_proper_class"):
        raise _missing("transformers", "ProcessorMixin.check_argument_for_proper_class")
    own = {"check_argument_for_proper_class": lambda *_: None, "__init__": cls.__init__, "__module__": cls.__module__}  # type: ignore[misc]
    return type(cls.__name__, (cls,), own)(*parts, **settings)


def smart_resize() -> Callable[..., tuple[int, int]]:
    """Return the function that chooses the size of an image or a frame for Qwen-VL models.

    Private place: `transformers.models.qwen2_vl.image_processing_pil_qwen2_vl.smart_resize`, seen in transformers 5.23.

    Raises:
        ModelError: It is not there.
    """
    try:
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as found
    except ImportError as error:
        raise _missing("transformers", "smart_resize of Qwen2-VL") from error
    return found


def savable_mixin() -> type:
    """Return the base class by which a processor recognises parts that it has to save.

    Private place: `transformers.utils.PushToHubMixin`, seen in transformers 5.23. Fallback: `object`, and saving leaves the part out.
    """
    try:
        from transformers.utils import PushToHubMixin
    except ImportError:
        return object
    return PushToHubMixin


# accelerate and torch


def read_offloaded(model: Any, name: str) -> Any:
    """Return a parameter that accelerate keeps on the CPU or on disk.

    Private name: `module._hf_hook.weights_map`, seen in accelerate 1.15.

    Raises:
        ModelError: The hook is missing.
    """
    path, _, own = name.rpartition(".")
    try:
        return model.get_submodule(path)._hf_hook.weights_map[own]
    except AttributeError as error:
        raise _missing("accelerate", "module._hf_hook.weights_map") from error


@contextlib.contextmanager
def compiled_layers(layers: list[Any]) -> Iterator[None]:
    """Run layers through `torch.compile` until the context ends.

    Private name: `Module._compiled_call_impl`, which `Module.compile` sets and no public call resets; seen in torch 2.13.
    """
    for layer in layers:
        layer.compile()
    try:
        yield
    finally:
        for layer in layers:
            layer._compiled_call_impl = None


def _missing(package: str, name: str) -> ModelError:
    version = importlib.metadata.version(package)
    return ModelError(
        f"{package} {version} has no {name}, which Seawall needs here. Install a version of {package} within the bounds of "
        "Seawall's pyproject.toml."
    )
