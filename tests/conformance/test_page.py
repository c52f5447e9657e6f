"""The table in docs/reference/conformance.md is up to date."""

from __future__ import annotations

from conformance.page import BEGIN, END, PAGE, make_table


def test_the_table_in_the_docs_is_that_of_the_suite(media_folder):
    written = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert written == make_table(media_folder), "run: PYTHONPATH=src:tests python -m conformance.page"
