"""Fixtures that the tests of all areas share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from sample_records import RECORDS, write_lines
from seawall.models.load import LoadedModel, load_model

if TYPE_CHECKING:
    from small_run import SmallRun


SLOW_MODULES = (
    "test_tutorials.py",
    "lab/test_demo.py",
    "test_pipeline.py",
    "evaluation/test_evaluate.py",
    "synthesis/test_resume.py",
    "alignment/test_training.py",
    "synthesis/test_engines.py",
    "alignment/test_run.py",
    "conformance/test_families.py",
    "conformance/test_stages.py",
    "test_unusable_media.py",
    "conformance/test_media.py",
    "test_wheel.py",
    "lab/organisms/test_organism_training.py",
    "evaluation/judges/test_judge_failures.py",
    "evaluation/judges/test_judges.py",
    "preparation/test_ask.py",
    "synthesis/test_optimize.py",
    "building/test_build.py",
    "test_readme.py",
    "media/test_streams.py",
    "lab/world/test_data.py",
    "models/test_qwen_video.py",
    "reporting/test_embeddings_page.py",
    "test_new_modality.py",
)
"""Modules that take over 8 seconds, longest first. `make check` leaves them out; `make test` starts with them, so that both workers
finish at the same time."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow modules as slow, and run these modules first."""
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(SLOW_MODULES)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
    for item in items:
        if item.path in ranks:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory) -> Path:
    """Folder of a tiny random LLaVA."""
    from tiny_models import save_tiny_llava

    return save_tiny_llava(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(tiny_path) -> LoadedModel:
    """A tiny random LLaVA, loaded anew for each test."""
    return load_model(str(tiny_path))


@pytest.fixture
def organism() -> LoadedModel:
    """The built-in image model, loaded anew for each test."""
    return load_model("organism:image")


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> SmallRun:
    """A small synthesis on the built-in image model. Tests must not change its folders."""
    from small_run import make_small_run

    return make_small_run(tmp_path_factory.mktemp("small_run"))


@pytest.fixture
def images(tmp_path) -> list[Path]:
    """Three small real PNG files."""
    paths = []
    for number, colour in enumerate([(200, 40, 40), (40, 200, 40), (40, 40, 200)]):
        image = Image.new("RGB", (96, 96), colour)
        image.paste((255, 255, 255), (10, 10 + 20 * number, 60, 40 + 10 * number))
        paths.append(tmp_path / f"{number}.png")
        image.save(paths[-1])
    return paths


@pytest.fixture
def source(tmp_path) -> Path:
    """A file of text safety data with four records."""
    return write_lines(tmp_path / "records.jsonl", RECORDS)
