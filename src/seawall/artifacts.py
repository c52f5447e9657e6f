"""Artifacts: the folders through which the stages meet, each with a manifest that says what made it.

A folder belongs to one (stage, config, inputs). The same command continues or keeps it; another one is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from seawall.errors import ArtifactError, DataError

MANIFEST = "manifest.json"
PACKAGES = ("seawall", "torch", "transformers", "peft", "trl")


def claim(out: Path, stage: str, config: Any, inputs: dict[str, str]) -> bool:
    """Take a folder for a run of a stage.

    Args:
        out: Folder to write to; made if missing.
        stage: `prepare`, `synthesize`, `align` or `evaluate`.
        config: Dataclass with the resolved settings.
        inputs: Name -> content hash of whatever the result depends on.

    Returns:
        True where the folder holds the finished result of this very run; False where the run is to begin or go on.

    Raises:
        ArtifactError: The folder holds something else.
    """
    identity = {"stage": stage, "config": _plain(config), "inputs": inputs}
    manifest = out / MANIFEST
    if manifest.exists():
        found = _read_manifest(out)
        changed = [
            f"{key}: {found.get(part, {}).get(key)!r} there, {identity[part].get(key)!r} now"
            for part in ("config", "inputs")
            for key in sorted(set(identity[part]) | set(found.get(part, {})))
            if found.get(part, {}).get(key) != identity[part].get(key)
        ]
        if found["stage"] != stage:
            changed = [f"stage: {found['stage']!r} there, {stage!r} now"]
        if changed:
            raise ArtifactError(
                f"{out} holds the artifacts of another run ({'; '.join(changed[:4])}). "
                "They are never overwritten: give another --out, or delete the folder."
            )
        return bool(found.get("complete"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArtifactError(f"{out} exists and was not made by seawall {stage}. Give another --out, or delete it.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"{out} cannot be made ({error.strerror}). Give another --out.") from error
    write_json(manifest, {**identity, "versions": versions(), "complete": False})
    return False


def finish(out: Path, **facts: Any) -> None:
    """Mark the run that claimed `out` as complete, with figures about its result."""
    write_json(out / MANIFEST, {**read_json(out / MANIFEST), **facts, "complete": True})


def require(folder: Path, stage: str) -> dict[str, Any]:
    """Return the manifest of a finished stage.

    Raises:
        ArtifactError: The folder does not hold a complete result of that stage.
    """
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(f"{folder} holds no result of `seawall {stage}` (no {MANIFEST}). Run that first.")
    manifest = _read_manifest(folder)
    if manifest["stage"] != stage:
        raise ArtifactError(
            f"{folder} was made by `seawall {manifest['stage']}`; a result of `seawall {stage}` is needed."
        )
    if not manifest["complete"]:
        raise ArtifactError(f"`seawall {stage}` has not finished {folder}. Run the same command again: it goes on.")
    return manifest


def versions() -> dict[str, str]:
    """Return the versions of the packages a result depends on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def hash_file(path: Path) -> str:
    """Return a short hash of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def hash_listing(files: Sequence[Path]) -> str:
    """Return a short hash of the names and sizes of many files."""
    listing = [(path.name, path.stat().st_size) for path in files]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()[:16]


def read_json(path: Path) -> Any:
    """Read a JSON file; a DataError tells which and where it is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that is either complete or absent."""
    _write(path, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON Lines file; blank lines are skipped.

    Raises:
        DataError: The file is missing, unreadable or empty, or a line is not a JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Give the path of a JSON Lines file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}). Give a UTF-8 file of JSON Lines.") from error
    if not text.strip():
        raise DataError(f"{path} is empty. It needs one JSON object a line.")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}, is not JSON ({error.msg}). Mend or delete the line.") from error
        if not isinstance(value, dict):
            raise DataError(f"{path}, line {number}, is a JSON {type(value).__name__}, not an object.")
        yield number, value


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write dataclasses or dicts, one JSON object a line; the file is either complete or absent."""
    _write(path, "".join(json.dumps(_plain(row), ensure_ascii=False) + "\n" for row in rows))


def read_pairs(folder: Path) -> list[dict[str, Any]]:
    """Return the alignment pairs of a finished `prepare`, in the source's order.

    Raises:
        ArtifactError: The folder holds no finished result.
    """
    require(folder, "prepare")
    return [pair for _, pair in read_jsonl(folder / "pairs.jsonl")]


def read_modality(folder: Path) -> str:
    """Return what the pairs of a finished `prepare` are about: `image`, `video`, `audio` or a registered modality."""
    return require(folder, "prepare")["config"]["modality"]


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not {"stage", "config", "inputs", "complete"} <= set(manifest):
        raise ArtifactError(f"{folder / MANIFEST} was not written by seawall. Give another folder.")
    return manifest


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _plain(value: Any) -> Any:
    plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
    return json.loads(json.dumps(plain, default=str))
