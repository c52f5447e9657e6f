"""Artifacts: the folders through which the stages meet, each with a manifest that says what made it.

A folder belongs to one (stage, config, inputs). The same command continues or keeps it; another one is refused. A stage
may leave settings and inputs free: those say how much there is to do, not what it is, so that a folder can grow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
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


def claim(out: Path, stage: str, config: Any, inputs: dict[str, str], free: Sequence[str] = ()) -> bool:
    """Take a folder for a run of a stage.

    Args:
        out: Folder to write to; made if missing.
        stage: `prepare`, `synthesize`, `align` or `evaluate`.
        config: Dataclass with the resolved settings.
        inputs: Name -> content hash of whatever the result depends on.
        free: Settings and inputs that may differ from the folder's. The stage then calls `reopen` before it writes.

    Returns:
        True where the folder holds the finished result of this very run; False where the run is to begin or go on.

    Raises:
        ArtifactError: The folder holds something else.
    """
    identity = {"stage": stage, "config": _plain(config), "inputs": inputs}
    manifest = out / MANIFEST
    if manifest.exists():
        found = read_manifest(out)
        changed = {
            key: f"{key}: {found.get(part, {}).get(key)!r} there, {identity[part].get(key)!r} now"
            for part in ("config", "inputs")
            for key in sorted(set(identity[part]) | set(found.get(part, {})))
            if found.get(part, {}).get(key) != identity[part].get(key)
        }
        refused = [text for key, text in changed.items() if key not in free]
        if found["stage"] != stage:
            refused = [f"stage: {found['stage']!r} there, {stage!r} now"]
        if refused:
            raise ArtifactError(
                f"{out} holds the artifacts of another run ({'; '.join(refused[:4])}). "
                "They are never overwritten: give another --out, or delete the folder."
            )
        return bool(found.get("complete")) and not changed
    begun = f"{MANIFEST}.partial"  # all there is of a run that was killed here
    if out.exists() and (not out.is_dir() or any(path.name != begun for path in out.iterdir())):
        raise ArtifactError(f"{out} exists and was not made by seawall {stage}. Give another --out, or delete it.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"{out} cannot be made ({error.strerror}). Give another --out.") from error
    whose = {"identity": identify(identity, free), "free": list(free)}
    write_json(manifest, {**identity, **whose, "versions": versions(), "complete": False})
    return False


def identify(manifest: dict[str, Any], free: Sequence[str]) -> str:
    """Return a short hash of a manifest's stage, settings and inputs, without those that are free."""
    fixed = {part: {k: v for k, v in manifest[part].items() if k not in free} for part in ("config", "inputs")}
    return hash_text(json.dumps([manifest["stage"], fixed], sort_keys=True))


def reopen(out: Path, config: Any, inputs: dict[str, str]) -> None:
    """Mark a claimed folder as not complete, under the free settings and inputs of the run that goes on."""
    write_json(out / MANIFEST, {**read_manifest(out), "config": _plain(config), "inputs": inputs, "complete": False})


def release(out: Path) -> None:
    """Give up a claimed folder that a stage has written nothing to."""
    (out / MANIFEST).unlink()
    with contextlib.suppress(OSError):  # it holds something after all
        out.rmdir()


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
    manifest = read_manifest(folder)
    if manifest["stage"] != stage:
        raise ArtifactError(
            f"{folder} was made by `seawall {manifest['stage']}`; a result of `seawall {stage}` is needed."
        )
    if not manifest["complete"]:
        raise ArtifactError(f"`seawall {stage}` has not finished {folder}. Run the same command again: it goes on.")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a folder, finished or not.

    Raises:
        ArtifactError: It is none of seawall's.
    """
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not {"stage", "config", "inputs", "complete"} <= set(manifest):
        raise ArtifactError(f"{folder / MANIFEST} was not written by seawall. Give another folder.")
    return manifest


def versions() -> dict[str, str]:
    """Return the versions of the packages a result depends on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def hash_text(text: str) -> str:
    """Return a short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_file(path: Path) -> str:
    """Return a short hash of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def hash_listing(files: Sequence[Path]) -> str:
    """Return a short hash of the names and sizes of many files."""
    listing = [(path.name, path.stat().st_size) for path in files]
    return hash_text(json.dumps(listing))


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
    write_durably(path, (json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n").encode())


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
    write_durably(path, "".join(json.dumps(_plain(row), ensure_ascii=False) + "\n" for row in rows).encode())


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that is either complete or absent, whatever happens to the process or the machine.

    Raises:
        ArtifactError: The disk is full.
    """
    partial = path.with_name(path.name + ".partial")
    with on_disk(path):
        try:
            with open(partial, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Say in one message that the disk is full, where writing `path` finds it so.

    Raises:
        ArtifactError: It is.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ArtifactError(
            f"{path} cannot be written: {error.strerror}. What was finished before is kept. Free some space, and run the same "
            "command again."
        ) from error


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


def _plain(value: Any) -> Any:
    plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
    return json.loads(json.dumps(plain, default=str))
