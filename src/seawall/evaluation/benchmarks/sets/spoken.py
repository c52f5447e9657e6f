"""Requests as speech, from sets with an audio column: VoiceBench's AdvBench part and JALMBench.

Sources: Chen et al., arXiv 2410.17196; Peng et al., arXiv 2505.17568; and their pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seawall.errors import DataError
from seawall.evaluation.benchmarks.source import select_names
from seawall.store.caches import make_private
from seawall.store.files import hash_text, write_durably
from seawall.store.items import Item

TEXT_ONLY, AUDIO_ONLY = "Text_only", "Audio_only"
VOICEBENCH = "https://huggingface.co/datasets/hlt-lab/voicebench"
JALMBENCH = "https://huggingface.co/datasets/AnonymousUser000/JALMBench"
SUBSETS = ("AHarm", "ADiv", "THarm", "ICA", "DAN", "DI", "PAP", "SSJ", "AMSE", "BoN")
"""Subsets of JALMBench. AdvWave is left out: its sounds are made for one model each."""
SIGNATURES = {
    b"RIFF": ".wav",
    b"ID3": ".mp3",
    b"fLaC": ".flac",
    b"OggS": ".ogg",
    b"\xff\xfb": ".mp3",
    b"\xff\xf3": ".mp3",
}
"""First bytes of a sound -> ending of its file."""


def read_voicebench(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return VoiceBench's AdvBench part: each request spoken, and as text.

    Args:
        data: VoiceBench's folder, or its folder `advbench`.
        types: Prompt types to read: `Text_only`, `Audio_only`. None reads both.
        scenarios: Scenarios to read; `advbench` is the only one. None reads it.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: Files are missing or are not as published.
    """
    types = select_names("prompt types", [TEXT_ONLY, AUDIO_ONLY], types)
    select_names("scenarios", ["advbench"], scenarios)
    files = sorted(data.rglob("advbench/*.parquet")) or sorted(data.glob("test-*.parquet"))
    if not files:
        raise DataError(f"{data} has no files advbench/*.parquet. Download them from {VOICEBENCH}.")
    items = []
    for number, (text, sound, _) in enumerate(_read_rows(files, "prompt", AUDIO_ONLY in types)):
        for prompt_type in types:
            spoken = prompt_type == AUDIO_ONLY
            items.append(_make_item(str(number), "advbench", prompt_type, text, sound if spoken else None, str(number)))
    return items


def read_jalmbench(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return JALMBench's items. Prompt types are its subsets, scenarios the sets that its requests come from.

    Args:
        data: Its folder, or a part of it, such as `HarmfulQuery`.
        types: Subsets to read. None reads all that the folder has.
        scenarios: Scenarios (`source`) to read. None reads all.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: Files are missing or are not as published.
    """
    files: dict[str, list[Path]] = {}
    for path in sorted(data.rglob("*.parquet")):
        parts = {path.stem.partition("-")[0], *path.relative_to(data).parts}
        if name := next((name for name in SUBSETS if name in parts), None):
            files.setdefault(name, []).append(path)
    if not files:
        raise DataError(
            f"{data} has no files such as HarmfulQuery/AHarm.parquet. Download them from {JALMBENCH}. Known subsets: "
            f"{', '.join(SUBSETS)}."
        )
    items = []
    for name in select_names("prompt types", list(files), types):
        for number, (text, sound, row) in enumerate(_read_rows(files[name], "original_text", name != "THarm")):
            asked = row.get("prompt") if sound else row.get("text") or text
            items.append(
                _make_item(f"{name}/{number}", str(row.get("source") or "all"), name, text, sound, text, asked)
            )
    wanted = select_names("scenarios", sorted({item.scenario for item in items}), scenarios)
    return [item for item in items if item.scenario in wanted]


def _make_item(
    id: str, scenario: str, prompt_type: str, question: str, sound: Path | None, cluster: str, text: str | None = None
) -> Item:
    return Item(
        id=f"{id}/{prompt_type}" if prompt_type in (TEXT_ONLY, AUDIO_ONLY) else id,
        cluster=hash_text(cluster),
        scenario=scenario,
        prompt_type=prompt_type,
        question=question,
        text=text if sound else text or question,
        modality="audio" if sound else None,
        medium=sound,
    )


def _read_rows(
    files: Sequence[Path], column: str, with_sound: bool
) -> Iterator[tuple[str, Path | None, dict[str, Any]]]:
    """Yield request, sound (written once, into the user's cache) and the other columns of each row of Parquet files.

    Raises:
        DataError: A file cannot be read, a column is missing, or a row has no request or no sound.
    """
    import pyarrow
    import pyarrow.parquet

    needed = [column, *["audio"] * with_sound]
    for path in files:
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                names = set(file.schema_arrow.names)
                if missing := [name for name in needed if name not in names]:
                    raise DataError(
                        f"{path} has no column {', '.join(missing)}; it has {', '.join(sorted(names))}. Another version of "
                        "the set may have another layout."
                    )
                kept = [name for name in (*needed, "prompt", "text", "source") if name in names]
                batches = file.iter_batches(batch_size=64, columns=list(dict.fromkeys(kept)))
                rows = (row for batch in batches for row in batch.to_pylist())
                for number, row in enumerate(rows):
                    if not row[column]:
                        raise DataError(f"{path}, row {number}, has no {column}. Download it again.")
                    yield str(row[column]), _write_sound(path, number, row["audio"]) if with_sound else None, row
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(f"{path} cannot be read ({error}). Download it again.") from error


def _write_sound(path: Path, number: int, sound: Any) -> Path:
    from platformdirs import user_cache_path

    content = sound.get("bytes") if isinstance(sound, dict) else None
    if not content:
        raise DataError(f"{path}, row {number}, has no sound in its column audio. Download the set with its sounds.")
    ending = next((ending for start, ending in SIGNATURES.items() if content.startswith(start)), ".wav")
    state = path.stat()
    folder = (
        user_cache_path("seawall") / "benchmarks" / hash_text(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}")
    )
    file = make_private(folder) / f"{number}{ending}"
    if not file.exists():
        write_durably(file, content)
    return file
