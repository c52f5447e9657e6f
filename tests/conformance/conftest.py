"""One row of the table of families for each test, on a tiny random model of the real class."""

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
from conformance.media import get_size, make_files
from seawall.models.chat import BLANK, Chat, Example, Medium
from seawall.models.encode import encode_media
from seawall.models.families import FAMILIES, Family
from seawall.models.load import LoadedModel

QUESTION = "What is it?"
TEXT_ONLY = Example(question="Hello.", answer="Hi.")


def get_name(family: Family) -> str:
    return "-".join(filter(None, (family.model_type, family.tower, family.modality)))


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table on a tiny random model, with two media files and their encoder outputs."""

    loaded: LoadedModel
    files: list[Path]
    own: Tensor

    @property
    def model(self) -> Any:
        return self.loaded.model

    @property
    def family(self) -> Family:
        return self.loaded.family

    def batch(self, *media: Path | Medium | None, **settings: Any) -> dict[str, Tensor]:
        """Return a batch with one question on each medium. None gives a row of text only."""
        examples = [
            Example(question=QUESTION, answer="Yes.", medium=medium) if medium else TEXT_ONLY for medium in media
        ]
        return self.loaded.chat.batch(examples, **settings)

    def blanks(self, **settings: Any) -> dict[str, Tensor]:
        """Return a batch with one question on the blank for each medium."""
        return self.batch(*[BLANK] * len(self.files), **settings)

    def replace_model(self, model: Any) -> Row:
        """Return the row with another model."""
        return dataclasses.replace(self, loaded=dataclasses.replace(self.loaded, model=model))

    def copy(self) -> Row:
        """Return the row with a copy of its model, which a test may change."""
        return self.replace_model(copy.deepcopy(self.model))


@functools.lru_cache
def make_row(family: Family, folder: Path) -> Row:
    """Return a row. It is built once per process, because all tests of a row share its model."""
    model, processor = tiny.build(family)
    chat = Chat(processor, family, blank=get_size(family))
    loaded = LoadedModel(get_name(family), model, processor, family, chat, "")
    files = make_files(family.modality, folder, chat, 2)
    return Row(loaded, files, encode_media(loaded, files))


@pytest.fixture(scope="session")
def media_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(params=FAMILIES, ids=get_name)
def row(request, media_folder) -> Row:
    return make_row(request.param, media_folder)


@torch.no_grad()
def logits(model: Any, batch: dict[str, Tensor], **extra: Any) -> Tensor:
    """Return the logits of a batch, without padding."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    return model(**inputs, **extra).logits[batch["attention_mask"].bool()]
