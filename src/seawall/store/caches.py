"""Caches of Seawall and its libraries: private to their owner, and in a temporary folder where none can be written."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import tempfile
from pathlib import Path

from seawall.errors import ArtifactError, ConfigError

log = logging.getLogger(__name__)

VARIABLES = {"XDG_CACHE_HOME": "cache", "XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config"}
"""Variable -> folder in the temporary one. Seawall, Inspect, huggingface_hub, datasets and matplotlib follow them."""
OWN_VARIABLES = {"MPLCONFIGDIR": "matplotlib", "TRITON_CACHE_DIR": "triton"}
"""The same, for libraries that use the home folder itself."""


def provide_caches() -> None:
    """Send caches to a temporary folder, with a warning, if their usual folders cannot be written.

    The command line calls this before it imports the libraries, which read the variables once. Models of the hub that
    are in a cache that can only be read are still found.

    Raises:
        ConfigError: There is no temporary folder, either.
    """
    import platformdirs

    usual = {
        "XDG_CACHE_HOME": platformdirs.user_cache_path(),
        "XDG_DATA_HOME": platformdirs.user_data_path(),
        "XDG_CONFIG_HOME": platformdirs.user_config_path(),
    }
    refused = {name: path for name, path in usual.items() if not _can_write(path)}
    if not refused:
        return
    names = ", ".join(map(str, refused.values()))
    try:
        folder = Path(tempfile.mkdtemp(prefix="seawall-caches-"))  # private to its owner
    except OSError as error:
        raise ConfigError(
            f"Neither {names} nor a temporary folder can be written ({error}). Set {', '.join(refused)} or TMPDIR to a "
            "folder that can."
        ) from error
    atexit.register(_remove, folder, os.getpid())
    hub = usual["XDG_CACHE_HOME"] / "huggingface"
    if hub.is_dir():
        os.environ.setdefault("HF_HOME", str(hub))
    for name in refused:
        os.environ[name] = str(folder / VARIABLES[name])
    for name, part in OWN_VARIABLES.items():
        os.environ.setdefault(name, str(folder / part))
    log.warning(
        "%s cannot be written, so caches go to a temporary folder and are lost at the end. To keep them, set HOME or %s "
        "to a folder that can be written.",
        names, ", ".join(refused),
    )  # fmt: skip


def make_private(folder: Path) -> Path:
    """Create a folder of a cache that only its owner can enter, and return it.

    Raises:
        ArtifactError: It cannot be created.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"The cache {folder} cannot be created ({error.strerror}). Set XDG_CACHE_HOME to a folder that can be written."
        ) from error
    with contextlib.suppress(OSError):  # it belongs to somebody else
        folder.chmod(0o700)
    return folder


def _can_write(folder: Path) -> bool:
    """Return whether a folder can be written, or created in the nearest one that exists. Root may be refused, too."""
    try:
        with tempfile.TemporaryFile(dir=next(place for place in (folder, *folder.parents) if place.exists())):
            return True
    except OSError:
        return False


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not a process that was forked from this one
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
