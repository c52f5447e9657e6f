"""Records and alignment pairs: what preparation reads and writes, and what synthesis and alignment read.

This is the only place that validates a line of `pairs.jsonl`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seawall.errors import DataError
from seawall.store.artifacts import require
from seawall.store.files import hash_text, read_jsonl, write_jsonl

PAIRS = "pairs.jsonl"
KINDS = ("harmful", "harmless")
CATEGORIES = ("activity", "product")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One line of text safety data."""

    id: str
    """Unique in the data."""
    kind: str | None
    """`harmful`, `harmless`, or None if the data set does not say."""
    instruction: str
    """The request."""
    response: str | None
    """The safe response; for a harmless record, the helpful one. None if the data set has no responses."""
    rejected: str | None = None
    """An unsafe response, if the data has one."""
    source: dict[str, Any] | None = None
    """The line as it was read, if it has Seawall's own columns. `rejected.jsonl` repeats it."""
    vouched: bool = False
    """Whether the labels of the data say that the response is safe."""

    def to_json(self) -> dict[str, Any]:
        """Return the record's columns."""
        names = ("id", "kind", "instruction", "response", "rejected")
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class QuestionAnswer:
    """A question about a medium and its expected answer."""

    question: str
    answer: str

    @classmethod
    def from_json(cls, value: Any, where: str) -> QuestionAnswer:
        """Return a question with its answer.

        Args:
            value: Object with the texts `question` and `answer`.
            where: Place of the value, for error messages.

        Raises:
            DataError: It is not such an object.
        """
        if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in ("question", "answer")):
            raise DataError(f'{where} is {value!r}; it must be an object {{"question": text, "answer": text}}.')
        return cls(question=value["question"], answer=value["answer"])

    def to_json(self) -> dict[str, str]:
        """Return the JSON object."""
        return {"question": self.question, "answer": self.answer}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One alignment pair: a record, its phrase, and the questions from which its embedding is made."""

    id: str
    """Id of the record."""
    kind: str
    """`harmful`, or `harmless` (a twin)."""
    modality: str
    """What the embedding stands for: `image`, `video`, `audio` or a registered modality."""
    instruction: str
    """The request as text."""
    response: str
    """The safe response; for a harmless record, the helpful one."""
    rejected: str | None = None
    """An unsafe response, if the data has one."""
    phrase: str
    """What the medium shows."""
    category: str
    """`activity` or `product`."""
    detoxified: str
    """The request without the phrase. Empty if the medium itself contains the whole request."""
    content: tuple[QuestionAnswer, ...]
    """Content controls: the synthesis optimises the first one and draws further ones from the rest."""
    verification: tuple[QuestionAnswer, ...]
    """Held-out questions: they verify an embedding and are never optimised."""
    style: QuestionAnswer | None
    """Style control, which varies the embeddings. None leaves it out."""
    extractor: str = "rules"
    """What found the phrase: `rules`, or a model."""

    @classmethod
    def from_json(cls, line: dict[str, Any], where: str) -> Pair:
        """Return the pair of a line. Unknown columns are ignored.

        Args:
            line: The JSON object.
            where: File and line number, for error messages.

        Raises:
            DataError: A column is missing or has a wrong value.
        """
        texts = ("id", "kind", "modality", "instruction", "response", "phrase", "category", "detoxified")
        needed = (*texts, "content", "verification")
        missing = [name for name in needed if line.get(name) is None]
        if missing := missing + (["style"] if "style" not in line else []):
            raise DataError(
                f"{where} lacks {', '.join(missing)}, so it is not an alignment pair of this version. "
                "Run `seawall prepare` again."
            )
        if wrong := [name for name in texts if not isinstance(line[name], str)]:
            raise DataError(f"{where}: {wrong[0]} is {line[wrong[0]]!r}; it must be a text.")
        for name, allowed in (("kind", KINDS), ("category", CATEGORIES)):
            if line[name] not in allowed:
                raise DataError(f"{where}: {name} is {line[name]!r}; it must be one of {', '.join(allowed)}.")
        for name in ("content", "verification"):
            if not isinstance(line[name], list) or not line[name]:
                raise DataError(f"{where}: {name} is {line[name]!r}; it must be a list with at least one question.")
        return cls(
            **{name: line[name] for name in texts},
            rejected=line.get("rejected"),
            content=tuple(QuestionAnswer.from_json(one, f"{where}: content") for one in line["content"]),
            verification=tuple(QuestionAnswer.from_json(one, f"{where}: verification") for one in line["verification"]),
            style=None if line["style"] is None else QuestionAnswer.from_json(line["style"], f"{where}: style"),
            extractor=str(line.get("extractor") or "rules"),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the line, with the columns in their documented order."""
        line = {name: getattr(self, name) for name in self.__slots__}  # faster than dataclasses.asdict
        line["content"] = [one.to_json() for one in self.content]
        line["verification"] = [one.to_json() for one in self.verification]
        line["style"] = None if self.style is None else self.style.to_json()
        return line

    def hash_questions(self, identity: str) -> str:
        """Return a hash of all that an embedding of this pair depends on.

        Args:
            identity: Hash of model and settings; see `Manifest.identity`.
        """
        names = ("kind", "phrase", "category", "content", "verification", "style")
        columns = {name: value for name, value in self.to_json().items() if name in names}
        return hash_text(json.dumps([identity, columns], sort_keys=True))


def write_pairs(folder: Path, pairs: Iterable[Pair]) -> None:
    """Write `pairs.jsonl`."""
    write_jsonl(folder / PAIRS, pairs)


def read_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of a finished `prepare`, in the order of the source.

    Raises:
        ArtifactError: The folder holds no finished result.
        DataError: A line is broken.
    """
    require(folder, "prepare")
    return [Pair.from_json(line, f"{folder / PAIRS}, line {number}") for number, line in read_jsonl(folder / PAIRS)]


def read_modality(folder: Path) -> str:
    """Return the modality of the pairs of a finished `prepare`."""
    return str(require(folder, "prepare").config["modality"])
