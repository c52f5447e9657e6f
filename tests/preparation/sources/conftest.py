"""Sources of harmless placeholder text, prepared from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sample_records import write_lines
from seawall import PrepareConfig, prepare
from seawall.preparation.run import PrepareResult
from seawall.store.files import read_json, read_jsonl
from seawall.store.pair import Pair, read_pairs


class Prepared:
    """What `prepare` made of a source."""

    def __init__(self, out: Path, result: PrepareResult) -> None:
        self.out, self.result, self.counts = out, result, result.counts
        self.pairs = read_pairs(out)
        self.manifest = read_json(out / "manifest.json")
        dropped = (out / "dropped.jsonl").read_text().strip()
        self.dropped = {line["id"]: line["step"] for _, line in read_jsonl(out / "dropped.jsonl")} if dropped else {}
        assert self.manifest["read"] == sum(self.counts.values()) and self.manifest["counts"] == self.counts
        for step, count in self.counts.items():
            assert count == sum(counts[step] for counts in self.manifest["kinds"].values())

    def list_columns(self, *names: str) -> list[tuple[Any, ...]]:
        """Return columns of the pairs."""
        names = names or ("id", "kind", "phrase", "response", "rejected")
        return [tuple(getattr(pair, name) for name in names) for pair in self.pairs]

    def list_records(self, *names: str) -> list[tuple[Any, ...]]:
        """Return columns of all records, also of those without a phrase."""
        text = (self.out / "rejected.jsonl").read_text().strip()
        rejected = [line for _, line in read_jsonl(self.out / "rejected.jsonl")] if text else []
        lines = [pair.to_json() for pair in self.pairs] + rejected
        return [tuple(line[name] for name in names) for line in lines]

    @property
    def only(self) -> Pair:
        (pair,) = self.pairs
        return pair


Preparer = Callable[..., Prepared]


@pytest.fixture
def prepare_rows(tmp_path) -> Preparer:
    """Prepare rows from a JSON Lines file."""

    def run(rows: list[Any], out: str = "pairs", **settings: Any) -> Prepared:
        source = write_lines(tmp_path / "rows.jsonl", rows)
        return Prepared(tmp_path / out, prepare(source, tmp_path / out, PrepareConfig(**settings)))

    return run


@pytest.fixture
def prepare_file(tmp_path) -> Preparer:
    """Prepare a file with the given content."""

    def run(name: str, content: str | bytes, source: Any = None, out: str = "pairs", **settings: Any) -> Prepared:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        given = source(path) if source else path
        return Prepared(tmp_path / out, prepare(given, tmp_path / out, PrepareConfig(**settings)))

    return run
