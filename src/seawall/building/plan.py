"""Which media files a run of `build` makes, and in which groups."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import random
from collections.abc import Sequence
from pathlib import Path

from seawall.building.config import CLIP_TYPES, MEDIA_TYPES, SPEECH_TYPES, BuildConfig
from seawall.building.questions import SourceItem
from seawall.errors import DataError
from seawall.store.va_safetybench import PROMPT_TYPES, SCENARIOS, locate_medium

log = logging.getLogger(__name__)

SPEECH_BATCH = 16
"""Items whose texts one process speaks at once. Starting the speech program takes about a second; an interruption loses the batch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MediaFile:
    """One medium to make."""

    item: SourceItem
    """The item that it belongs to."""
    prompt_type: str
    """One of `MEDIA_TYPES`."""
    still: Path | None = None
    """Image for the clip. None for other media, and for clips of a pipeline."""
    own_still: bool = False
    """Whether the still was made for this item. False if it was drawn at random."""

    @property
    def path(self) -> str:
        """Path relative to the folder of the benchmark."""
        modality = next(name for name, types in PROMPT_TYPES.items() if self.prompt_type in types)
        return locate_medium(Path(), modality, self.item.scenario, self.prompt_type, self.item.id).as_posix()

    @property
    def text(self) -> str:
        """What the medium shows or says."""
        return self.item.request if self.prompt_type == "Audio_only" else self.item.phrase

    @property
    def owner(self) -> tuple[str, str]:
        """Scenario and id of the item."""
        return self.item.scenario, self.item.id


def list_media(items: Sequence[SourceItem], config: BuildConfig) -> list[MediaFile]:
    """Return the media of a benchmark. Clips are left out, with a warning, if no source of clips is given.

    Raises:
        DataError: The folder of stills contains no image.
    """
    types = [name for name in MEDIA_TYPES if config.types is None or name in config.types]
    clip_types = [name for name in types if name in CLIP_TYPES]
    if clip_types and not (config.stills or config.pipeline):
        log.warning(
            "No clips are made (%s), because no source is given: add --stills or --pipeline.", ", ".join(clip_types)
        )
        types = [name for name in types if name not in CLIP_TYPES]
    stills = Stills(config.stills, config.seed) if config.stills and clip_types else None
    media = []
    for item, prompt_type in itertools.product(items, types):
        still, own = stills.find(item) if stills and prompt_type in CLIP_TYPES else (None, False)
        media.append(MediaFile(item=item, prompt_type=prompt_type, still=still, own_still=own))
    return media


class Stills:
    """A folder of images.

    In MM-SafetyBench's `imgs`, each item has an image of its own (`<scenario>/SD/<id>.jpg`). Other items get one drawn at random.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        from seawall.media.clips import STILLS

        self.seed = seed
        self.paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in STILLS)
        self.own = {"/".join(path.with_suffix("").parts[-3:]): path for path in self.paths}
        if not self.paths:
            raise DataError(
                f"{folder} contains no images ({', '.join(STILLS)}). Give a folder of images, or --pipeline."
            )

    def find(self, item: SourceItem) -> tuple[Path, bool]:
        """Return the still for an item, and whether it was made for this item."""
        if own := self.own.get(f"{SCENARIOS[item.scenario]}/SD/{item.id}"):
            return own, True
        return random.Random(f"{self.seed}/{item.scenario}/{item.id}").choice(self.paths), False


def group_media(media: Sequence[MediaFile]) -> list[list[MediaFile]]:
    """Return media in the groups that are made together.

    Text animations are made one by one, clips by item, and sounds in batches of `SPEECH_BATCH` items.
    """
    clips = [medium for medium in media if medium.prompt_type in CLIP_TYPES]
    sounds = [medium for medium in media if medium.prompt_type in SPEECH_TYPES]
    groups = [[medium] for medium in media if medium.prompt_type not in CLIP_TYPES + SPEECH_TYPES]
    groups += _group_by_item(clips)
    by_item = _group_by_item(sounds)
    batches = [by_item[start : start + SPEECH_BATCH] for start in range(0, len(by_item), SPEECH_BATCH)]
    return groups + [list(itertools.chain(*batch)) for batch in batches]


def _group_by_item(media: Sequence[MediaFile]) -> list[list[MediaFile]]:
    return [list(group) for _, group in itertools.groupby(media, key=lambda medium: medium.owner)]
