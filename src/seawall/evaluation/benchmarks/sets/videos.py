"""Video-SafetyBench: videos with harmful questions, and with questions that only the video makes harmful.

Source: Liu et al., arXiv 2505.11842, and its page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seawall.evaluation.benchmarks.sets.common import find_file, locate, read_list, require_unique
from seawall.evaluation.benchmarks.source import require_media, select_names
from seawall.store.items import Item

PAGE = "https://huggingface.co/datasets/BAAI/Video-SafetyBench"
TYPES = ("harmful", "benign")
"""Prompt types, as the authors name their files. Both are attacks: the text of the second one looks harmless."""


def read_video_safetybench(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return Video-SafetyBench's items. Scenarios are its categories.

    Judges get the intention that the authors state for questions which look harmless.

    Args:
        data: Its folder, with the question files and the unpacked videos.
        types: Prompt types to read: `harmful`, `benign`. None reads both.
        scenarios: Scenarios to read. None reads all.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: Files are missing or are not as published.
    """
    items, root = [], data
    for prompt_type in select_names("prompt types", TYPES, types):
        path = find_file(data, [f"{prompt_type}_data.json", f"data/{prompt_type}_data.json"], PAGE, gated=True)
        fields = (
            "question_id",
            "question",
            "video_path",
            "category",
            *["harmful_intention"] * (prompt_type == "benign"),
        )
        root = path.parent
        folders = [root, root / "videos", root.parent, root.parent / "videos"]
        for row in read_list(path, fields):
            medium = locate(path, folders, row["video_path"])
            items.append(
                Item(
                    id=f"{row['question_id']}/{prompt_type}",
                    cluster=str(row["video_path"]),
                    scenario=str(row["category"]),
                    prompt_type=prompt_type,
                    question=row["harmful_intention"] if prompt_type == "benign" else row["question"],
                    text=row["question"],
                    modality="video",
                    medium=medium,
                )
            )
        require_unique(path, [item for item in items if item.prompt_type == prompt_type])
    wanted = select_names("scenarios", sorted({item.scenario for item in items}), scenarios)
    items = [item for item in items if item.scenario in wanted]
    inside = all(item.medium and item.medium.is_relative_to(root) for item in items)
    require_media(root if inside else root.parent, items, f"Unpack video.tar.gz of {PAGE} beside the question files.")
    return items
