"""Artifact folders and their manifests.

A folder belongs to one run: one stage with its settings and inputs. The same command continues the run or returns its
result; a command with other settings is refused. A stage declares some settings and inputs as free: they say how much
there is to do or how the work is done, so they may change when a run is continued.

A folder of another version of Seawall is continued if nothing that both versions know differs. An option that only one
of the two versions has must be at its default.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seawall.errors import ArtifactError
from seawall.store.files import hash_text, read_json, to_plain, write_json

MANIFEST = "manifest.json"
LOCK = ".lock"
"""Lock file of a folder that several processes may want to write to."""
SCHEMA = 2
"""Version of the layout of artifact folders. Version 1 was that of Seawall 0.1, which had no number."""
PACKAGES = ("seawall", "torch", "transformers", "peft", "trl")
_FIELDS = ("schema", "stage", "config", "defaults", "inputs", "identity", "free", "versions", "complete")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """What made a folder."""

    stage: str
    """`prepare`, `synthesize`, `align`, `evaluate`, `build` or `demo`."""
    config: dict[str, Any]
    """Every setting of the run."""
    defaults: tuple[str, ...] = ()
    """Names of the settings that had their default values. Those of a nested config are dotted, as in
    `mixture.text_harmful`."""
    inputs: dict[str, str]
    """Name -> hash of each input that the result depends on."""
    identity: str = ""
    """Hash of stage, settings and inputs without the free ones, made by the version that created the folder."""
    free: tuple[str, ...] = ()
    """Settings and inputs that may change when the run is continued."""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    """Versions of the packages that made it."""
    complete: bool = False
    """Whether the run has finished."""
    schema: int = SCHEMA
    """See `SCHEMA`."""
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Figures about the result, such as `counts`. In the file they stand beside the other fields."""

    @classmethod
    def from_json(cls, value: Any, path: Path) -> Manifest:
        """Return a manifest from the content of its file.

        Raises:
            ArtifactError: It is not a manifest, or its schema is of another major version.
        """
        if not isinstance(value, dict) or not {"stage", "config", "inputs", "complete"} <= set(value):
            raise ArtifactError(f"{path} was not written by seawall. Give another folder.")
        if (found := value.get("schema", 1)) != SCHEMA:
            raise ArtifactError(
                f"{path.parent} was written by another version of Seawall (schema {found}, this version reads schema "
                f"{SCHEMA}). Run the stage again with another --out, or use the version that wrote the folder."
            )
        known = {name: value[name] for name in _FIELDS if name in value}
        known |= {name: tuple(known[name]) for name in ("defaults", "free") if name in known}
        return cls(**known, facts={name: fact for name, fact in value.items() if name not in _FIELDS})

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        return {**{name: to_plain(getattr(self, name)) for name in _FIELDS}, **self.facts}

    def find_differences(self, other: Manifest, places: tuple[str, str] = ("there", "now")) -> dict[str, str]:
        """Return name -> description of each setting and input in which another run differs from this one.

        A setting that only one side has counts as different unless it has its default value there.

        Args:
            other: Manifest of the other run.
            places: Words for this run and the other one in the descriptions.
        """
        found = {}
        for part in ("config", "inputs"):
            mine, theirs = _flatten(getattr(self, part)), _flatten(getattr(other, part))
            for name in sorted({*mine, *theirs}):
                if name in mine and name in theirs:
                    same = mine[name] == theirs[name]
                else:
                    same = part == "config" and name in (self.defaults if name in mine else other.defaults)
                if not same:
                    found[name] = f"{name}: {_show(mine, name)} {places[0]}, {_show(theirs, name)} {places[1]}"
        return found


def claim(
    out: Path, stage: str, config: Any, inputs: dict[str, str], free: Sequence[str] = (), *, private: bool = False
) -> bool:
    """Take a folder for a run of a stage.

    Args:
        out: Folder to write to. It is created if missing.
        stage: Name of the stage.
        config: Dataclass with all settings.
        inputs: Name -> hash of each input that the result depends on.
        free: Settings and inputs that may differ from those of the folder. The stage calls `reopen` before it writes.
        private: Whether only the owner can enter a folder that is created. False leaves this to the umask.

    Returns:
        True if the folder holds the finished result of this run; False if the run has to start or to continue.

    Raises:
        ArtifactError: The folder holds something else, or cannot be written.
    """
    wanted = _describe(stage, config, inputs, free)
    if (out / MANIFEST).exists():
        found = read_manifest(out)
        differences = found.find_differences(wanted)
        refused = [text for name, text in differences.items() if name.partition(".")[0] not in free]
        if found.stage != stage:
            refused = [f"stage: {found.stage!r} there, {stage!r} now"]
        if refused:
            raise ArtifactError(
                f"{out} holds the result of another run ({'; '.join(refused[:4])}). "
                "Results are never overwritten: give another --out, or delete the folder."
            )
        return found.complete and not differences
    unfinished = f"{MANIFEST}.partial"  # all that a run leaves if it is killed right here
    if out.exists() and (not out.is_dir() or any(path.name != unfinished for path in out.iterdir())):
        raise ArtifactError(f"{out} exists and was not made by seawall {stage}. Give another --out, or delete it.")
    try:
        out.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"{out} cannot be created ({error.strerror}). Give another --out.") from error
    write_manifest(out, wanted)
    return False


def reopen(out: Path, config: Any, inputs: dict[str, str], **facts: Any) -> None:
    """Mark a claimed folder as incomplete, with the free settings and inputs of the run that continues it.

    `facts` are recorded as by `finish`.
    """
    manifest, settings = read_manifest(out), to_plain(config)
    known = _flatten(settings)
    unknown = [name for name in manifest.defaults if name not in known]  # options of the version that made the folder
    updated = dataclasses.replace(
        manifest,
        config={**manifest.config, **settings},
        defaults=(*_find_defaults(config, settings), *unknown),
        inputs=inputs,
        complete=False,
        facts={**manifest.facts, **facts},
    )
    write_manifest(out, updated)


def record(out: Path, **facts: Any) -> None:
    """Record figures in the manifest of a claimed folder. Those of the same name are replaced."""
    manifest = read_manifest(out)
    write_manifest(out, dataclasses.replace(manifest, facts={**manifest.facts, **facts}))


def release(out: Path) -> None:
    """Give up a claimed folder that a stage has written nothing to."""
    (out / MANIFEST).unlink()
    (out / LOCK).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it is not empty
        out.rmdir()


@contextlib.contextmanager
def released_after_errors(out: Path) -> Iterator[None]:
    """Give up a claimed folder if an error ends the context before the stage has written anything.

    Without this, the same folder could not be used once the user has corrected what was refused.
    """
    try:
        yield
    except Exception:
        if {path.name for path in out.iterdir()} <= {MANIFEST, LOCK}:
            release(out)
        raise


def finish(out: Path, **facts: Any) -> None:
    """Mark the run that claimed `out` as complete and record figures about its result."""
    manifest = read_manifest(out)
    write_manifest(out, dataclasses.replace(manifest, complete=True, facts={**manifest.facts, **facts}))


def require(folder: Path, stage: str) -> Manifest:
    """Return the manifest of a finished stage.

    Raises:
        ArtifactError: The folder does not hold a complete result of that stage.
    """
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(f"{folder} holds no result of `seawall {stage}` (no {MANIFEST}). Run that first.")
    manifest = read_manifest(folder)
    if manifest.stage != stage:
        raise ArtifactError(
            f"{folder} was made by `seawall {manifest.stage}`; a result of `seawall {stage}` is needed."
        )
    if not manifest.complete:
        raise ArtifactError(f"`seawall {stage}` has not finished {folder}. Rerun the same command to resume.")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder, finished or not.

    Raises:
        ArtifactError: It was not written by this version of Seawall or a compatible one.
    """
    return Manifest.from_json(read_json(folder / MANIFEST), folder / MANIFEST)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder."""
    write_json(folder / MANIFEST, manifest.to_json())


def versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def _describe(stage: str, config: Any, inputs: dict[str, str], free: Sequence[str]) -> Manifest:
    settings = to_plain(config)
    fixed = [{name: v for name, v in part.items() if name not in free} for part in (settings, inputs)]
    return Manifest(
        stage=stage,
        config=settings,
        defaults=_find_defaults(config, settings),
        inputs=inputs,
        identity=hash_text(json.dumps([stage, *fixed], sort_keys=True)),
        free=tuple(free),
        versions=versions(),
    )


def _find_defaults(config: Any, settings: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the settings that have their default values."""
    defaults = {}
    for field in dataclasses.fields(config):
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = to_plain(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = to_plain(field.default_factory())
    found = _flatten(settings)
    return tuple(name for name, value in _flatten(defaults).items() if name in found and found[name] == value)


def _flatten(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of nested configs under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": v for inner, v in _flatten(value).items()}
        else:
            flat[name] = value
    return flat


def _show(part: dict[str, Any], name: str) -> str:
    return repr(part[name]) if name in part else "not known"
