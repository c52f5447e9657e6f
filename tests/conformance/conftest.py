from __future__ import annotations

import copy
import dataclasses
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from conformance import tiny, tiny_more  # noqa: F401 (registers its builders)
from conformance.media import make_files, size_of
from seawall.models.chat import BLANK, Chat, Example
from seawall.models.encode import encode_media
from seawall.models.families import FAMILIES, Family
from seawall.models.load import LoadedModel

QUESTION = "What is it?"
TEXT_ONLY = Example(question="Hello.", answer="Hi.")


def name_of(family: Family) -> str:
    return "-".join(filter(None, (family.model_type, family.tower, family.modality)))


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table, on a tiny random model, with two media and what its encoder makes of them."""

    loaded: LoadedModel
    files: list[Path]
    own: Tensor

    @property
    def model(self) -> Any:
        return self.loaded.model

    @property
    def family(self) -> Family:
        return self.loaded.family

    def batch(self, *media: Path | str | None, **settings: Any) -> dict[str, Tensor]:
        """Return a batch of one question on each medium; on text alone where it is None."""
        turns = [Example(question=QUESTION, answer="Yes.", medium=medium) if medium else TEXT_ONLY for medium in media]
        return self.loaded.chat.batch(turns, **settings)

    def blanks(self, **settings: Any) -> dict[str, Tensor]:
        return self.batch(*[BLANK] * len(self.files), **settings)

    def copy(self) -> Row:
        """Return the row on a copy of its model, to change."""
        return dataclasses.replace(self, loaded=dataclasses.replace(self.loaded, model=copy.deepcopy(self.model)))


@functools.lru_cache
def make_row(family: Family, folder: Path) -> Row:
    model, processor = tiny.build(family)
    chat = Chat(processor, family, blank=size_of(family))
    loaded = LoadedModel(name_of(family), model, processor, family, chat, "")
    files = make_files(family.modality, folder, chat, 2)
    return Row(loaded, files, encode_media(loaded, files))


@pytest.fixture(scope="session")
def media_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(params=FAMILIES, ids=name_of)
def row(request, media_folder) -> Row:
    return make_row(request.param, media_folder)


@torch.no_grad()
def logits(model: Any, batch: dict[str, Tensor], **extra: Any) -> Tensor:
    """Return the logits of a batch where it has tokens."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    return model(**inputs, **extra).logits[batch["attention_mask"].bool()]
