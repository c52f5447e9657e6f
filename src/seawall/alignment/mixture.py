"""What a training batch consists of: examples of each component in fixed shares, planned before the training starts."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seawall.alignment.config import COMPONENTS, Mixture
from seawall.errors import ConfigError, DataError
from seawall.models.chat import BLANK, Chat, Example, Medium
from seawall.models.encode import find_unusable
from seawall.prompts import get_sentences
from seawall.store.embeddings import EmbeddingStore
from seawall.store.files import hash_text
from seawall.store.formats.conversation import find_conversation, read_turns, split_first
from seawall.store.formats.objects import read_objects
from seawall.store.pair import KINDS, Pair

log = logging.getLogger(__name__)

MEDIA_LIST = "media.jsonl"


@dataclasses.dataclass(frozen=True)
class TrainingExample:
    """One example of a batch."""

    example: Example
    """Question, response and medium. The medium is `BLANK` if there is a synthetic embedding."""
    key: str | None = None
    """Key of the synthetic embedding in its store. None for text and real media."""
    rejected: str | None = None
    """The response that preference training makes less likely. None if there is none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComponentCount:
    """Number of examples of one component."""

    available: int
    """Examples that the data contains."""
    per_batch: int
    """Examples in each batch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MediaLine:
    """One line of `media.jsonl`: a real medium with a question and its answer."""

    file: str
    """Path of the medium, relative to the folder of the list. Its column has the name of the modality."""
    question: str
    """What is asked. Empty if the medium itself contains the request."""
    answer: str
    """The response to train on."""
    kind: str = "harmless"
    """`harmful` or `harmless`."""
    rejected: str | None = None
    """An unsafe response, for harmful media."""

    @classmethod
    def from_json(cls, line: dict[str, Any], modality: str, where: str) -> MediaLine:
        """Return the content of a line. Unknown columns are ignored.

        A conversation, as in LLaVA-Instruct, stands for `question` and `answer`: they are its first request and reply.

        Args:
            line: The JSON object.
            modality: Modality of the medium; the column of the file has this name.
            where: File and line number, for error messages.

        Raises:
            DataError: A column is missing or has a wrong value.
        """
        if not line.get("question") and (conversation := find_conversation(line)) is not None:
            first = split_first(read_turns(conversation, f"{where}: its conversation"))
            line = {**line, "question": first.request, "answer": first.answer}
        optional = ["question"] if get_sentences(modality).whole_request else []
        needed = [name for name in (modality, "question", "answer") if name not in optional]
        if missing := [name for name in needed if not line.get(name)]:
            raise DataError(f"{where}, lacks {', '.join(missing)}. Each line needs {', '.join(needed)}.")
        texts = {name: line.get(name) or "" for name in (modality, "question", "answer", "rejected")}
        if wrong := [name for name, text in texts.items() if not isinstance(text, str)]:
            raise DataError(f"{where}: {wrong[0]} is {line[wrong[0]]!r}; it must be a text.")
        if (kind := line.get("kind", "harmless")) not in KINDS:
            raise DataError(f"{where}: kind is {kind!r}; it must be one of {', '.join(KINDS)}.")
        return cls(
            file=texts[modality],
            question=texts["question"],
            answer=texts["answer"],
            kind=kind,
            rejected=texts["rejected"] or None,
        )


def find_media_list(folder: Path) -> Path:
    """Return the list of a folder's media: `media.jsonl`, or `media.json` if there is only that."""
    path = folder / MEDIA_LIST
    other = path.with_suffix(".json")
    return other if other.exists() and not path.exists() else path


def read_media(folder: Path, modality: str = "image") -> Iterator[MediaLine]:
    """Yield the lines of a folder's `media.jsonl`, or the records of its `media.json`.

    Raises:
        DataError: The list is missing or broken, lacks a column, or names a file that is missing.
    """
    path = find_media_list(folder)
    for number, line in read_objects(path):
        where = f"{path}, {'line' if path.name == MEDIA_LIST else 'record'} {number}"
        medium = MediaLine.from_json(line, modality, where)
        if not (folder / medium.file).is_file():
            raise DataError(f"{where}, names {medium.file}, which is not in {folder}. Add the file or delete the line.")
        yield medium


def collect_examples(
    pairs: Sequence[Pair], store: EmbeddingStore | None, media: Sequence[Path], modality: str = "image"
) -> dict[str, list[TrainingExample]]:
    """Return every available example of each component of `Mixture`.

    The rejected response of a harmful example is the unsafe one that its source gives, if any. That of a harmless
    example is a refusal: a response of the harmful pairs, chosen by a hash of the example. The choice does not depend
    on the order of pairs, media and folders.

    Args:
        pairs: Alignment pairs.
        store: Synthetic embeddings. Left out are those that are unverified, or were made from other questions than the
            pairs have now.
        media: Folders of real media, each with a `media.jsonl`.
        modality: Modality of the media.

    Raises:
        DataError: A `media.jsonl` is missing or broken.
    """
    examples: dict[str, list[TrainingExample]] = {name: [] for name in COMPONENTS}
    refusals = sorted({pair.response for pair in pairs if pair.kind == "harmful"})
    rejected = {
        pair.id: pair.rejected if pair.kind == "harmful" else choose_refusal(refusals, pair.id) for pair in pairs
    }
    for pair in pairs:
        text = Example(question=pair.instruction, answer=pair.response)
        examples[f"text_{pair.kind}"].append(TrainingExample(text, rejected=rejected[pair.id]))
    for key, pair in _find_usable(store, pairs) if store else ():
        shown = Example(question=pair.detoxified, answer=pair.response, medium=BLANK)
        examples[f"synthetic_{pair.kind}"].append(TrainingExample(shown, key, rejected[pair.id]))
    for folder in media:
        for line in read_media(folder, modality):
            real = Example(question=line.question, answer=line.answer, medium=folder / line.file)
            content = json.dumps([line.file, line.question, line.answer])
            other = line.rejected if line.kind == "harmful" else choose_refusal(refusals, content)
            examples[f"media_{line.kind}"].append(TrainingExample(real, rejected=other))
    return examples


def choose_refusal(refusals: Sequence[str], identity: str) -> str | None:
    """Return one of the refusals, chosen by a hash of what identifies an example. None if there are no refusals."""
    return refusals[int(hash_text(identity), 16) % len(refusals)] if refusals else None


def keep_preferences(
    examples: Mapping[str, Sequence[TrainingExample]], mixture: Mixture
) -> dict[str, list[TrainingExample]]:
    """Return the examples that have a rejected response, and log how many have none.

    Raises:
        ConfigError: A component with a share in the mixture has no such example.
    """
    kept = {name: [example for example in some if example.rejected] for name, some in examples.items()}
    shares = mixture.get_shares()
    lost = {name: (len(some) - len(kept[name]), len(some)) for name, some in examples.items() if shares[name]}
    lost = {name: (without, total) for name, (without, total) in lost.items() if without}
    if lost:
        found = ", ".join(f"{without} of {total} {name}" for name, (without, total) in lost.items())
        advice = (
            "Harmful examples take it from the column `rejected` of their source, harmless ones from the responses of "
            "the harmful pairs."
        )
        if any(without == total for without, total in lost.values()):
            raise ConfigError(
                f"Examples without a rejected response: {found}. {advice} Use --method sft, or give the component "
                "a share of 0."
            )
        log.warning("examples without a rejected response are left out: %s. %s", found, advice)
    return kept


def plan_training(
    examples: Mapping[str, Sequence[TrainingExample]], mixture: Mixture, steps: int, batch_size: int, seed: int
) -> list[TrainingExample]:
    """Return the examples of a whole training, batch after batch. Every batch has the same shares.

    Each component is shuffled anew in every round, so that an example returns only after all others have been used.

    Raises:
        ConfigError: A component of the mixture has no examples, or its share is too small for the batch.
    """
    counts = mixture.count_examples(batch_size)
    if empty := [name for name in counts if not examples[name]]:
        raise ConfigError(
            f"The mixture contains {', '.join(empty)}, but there are no such examples. Give the data (text by --pairs, "
            "synthetic by --embeddings, media by --media), or set the share to 0."
        )
    if left_out := [name for name, number in counts.items() if not number]:
        raise ConfigError(
            f"A batch of {batch_size} has no room for {', '.join(left_out)}. Use a larger --batch-size or larger "
            "shares, or set the share to 0."
        )
    streams = {name: _shuffle_rounds(examples[name], random.Random(f"{seed}/{name}")) for name in counts}
    return [
        example
        for _ in range(steps)
        for name, number in counts.items()
        for example in itertools.islice(streams[name], number)
    ]


def leave_out_unusable(
    examples: Mapping[str, Sequence[TrainingExample]],
    chat: Chat,
    plan: Callable[[Mapping[str, Sequence[TrainingExample]]], list[TrainingExample]],
) -> tuple[Mapping[str, Sequence[TrainingExample]], list[TrainingExample]]:
    """Return the examples without real media that cannot be used, and the plan of a training on them.

    Only media of the plan are read. The log names each that is left out.

    Args:
        examples: Component -> its examples.
        chat: Encodes examples for the model.
        plan: Returns the examples of the whole training; see `plan_training`.
    """
    checked: set[Medium | None] = {None, BLANK}
    while True:
        planned = plan(examples)
        new = {one.example.medium: one.example for one in planned if one.example.medium not in checked}
        faults = find_unusable(chat, [*new.values()]) if new else {}
        if not faults:
            return examples, planned
        checked |= new.keys()
        for fault in faults.values():
            log.warning("left out of the training: %s", fault)
        examples = {name: [one for one in some if one.example.medium not in faults] for name, some in examples.items()}


def _find_usable(store: EmbeddingStore, pairs: Sequence[Pair]) -> list[tuple[str, Pair]]:
    """Return key and pair of each verified embedding that was made from its pair's present questions.

    Their order is that of the pairs and their blocks. It does not depend on which of several workers was done first.
    """
    by_id = {pair.id: pair for pair in pairs}
    positions = {pair.id: number for number, pair in enumerate(pairs)}
    verified = [
        (entry, by_id[entry.record]) for entry in store.entries.values() if entry.verified and entry.record in by_id
    ]
    verified.sort(key=lambda found: positions.get(found[0].block, -1))
    usable = [(entry.key, pair) for entry, pair in verified if store.is_current(entry, pair)]
    if stale := len(verified) - len(usable):
        log.warning(
            "%d embeddings in %s are left out because their records have other questions now. Run `seawall synthesize` "
            "again.",
            stale, store.folder,
        )  # fmt: skip
    return usable


def _shuffle_rounds(examples: Sequence[TrainingExample], rng: random.Random) -> Iterator[TrainingExample]:
    while True:
        yield from rng.sample(examples, len(examples))
