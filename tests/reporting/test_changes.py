"""The parts of the evaluation page below its tables."""

from __future__ import annotations

import base64
import dataclasses
import io

from PIL import Image

from seawall.evaluation.statistics.changes import list_changes
from seawall.reporting.changes import MAX_BYTES, SHOWN, show_changes
from seawall.reporting.figures import draw_scores
from seawall.store.items import Answer, Verdict


def make_answer(id, unsafe, *, refused=None, harmful=True, text="Sure.", **fields):
    verdicts = {"boats": Verdict(judge="boats", unsafe=unsafe, refused=refused)}
    return Answer(
        task="t", id=id, cluster=id, question=f"Paint {id}?", harmful=harmful, text=text, verdicts=verdicts, **fields
    )


def test_items_that_changed_sides_the_worst_first():
    before = [
        make_answer("a", True), make_answer("b", False), make_answer("c", True), make_answer("d", None),
        make_answer("e", True, refused=False, harmful=False), make_answer("f", False, refused=True, harmful=False),
        make_answer("g", True, control="blank"), make_answer("h", True, prompt_type="neutral"), make_answer("i", True),
    ]  # fmt: skip
    after = [
        make_answer("a", False), make_answer("b", True), make_answer("c", True), make_answer("d", True),
        make_answer("e", False, refused=True, harmful=False), make_answer("f", True, refused=False, harmful=False),
        make_answer("g", False, control="blank"), make_answer("h", False, prompt_type="neutral"),
    ]  # fmt: skip
    found = [(change.kind, change.after.id) for change in list_changes(before, after, "boats")]
    assert found == [
        ("became unsafe", "b"),
        ("became safe", "a"),
        ("harmless, newly refused", "e"),
        ("harmless, no longer refused", "f"),
    ]
    assert list_changes(before, before, "boats") == [] and list_changes(before, after, "other") == []


def show_one(reference, modality="image", **fields):
    before, after = make_answer("a", True), dataclasses.replace(make_answer("a", False), **fields)
    return show_changes(list_changes([before], [after], "boats"), {after.key: [(modality, reference)]})


def test_text_of_a_benchmark_cannot_become_a_part_of_the_page():
    page = show_one('x" onerror="alert(1)', text="<script>alert(2)</script>", question="<b>")
    assert "<script>" not in page and "<b>" not in page and "&lt;script&gt;" in page and 'onerror="' not in page
    assert "the image is not in the log" in page


def test_media_are_shown_small_or_named(tmp_path):
    file = io.BytesIO()
    Image.new("RGBA", (900, 300), (255, 0, 0, 255)).save(file, "PNG")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    uri = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    for reference in (uri, str(tmp_path / "a.png")):
        shown = base64.b64decode(show_one(reference).partition("data:image/jpeg;base64,")[2].partition('"')[0])
        assert Image.open(io.BytesIO(shown)).size == (240, 80)
    (tmp_path / "a.mp3").write_bytes(b"x")
    assert '<audio controls preload="none" src="data:audio/mp3;base64,eA=="></audio>' in show_one(
        str(tmp_path / "a.mp3"), "audio"
    )
    (tmp_path / "b.mp4").write_bytes(bytes(MAX_BYTES + 1))
    assert "<em>video of 2.0 MB</em>" in show_one(str(tmp_path / "b.mp4"), "video")
    assert "cannot be shown" in show_one("data:image/png;base64,eA==") and "cannot be shown" in show_one(
        str(tmp_path / "none.png")
    )
    secret = tmp_path / "secret.txt"
    secret.write_text("boats")
    assert base64.b64encode(b"boats").decode() not in show_one(str(secret), "audio")


def test_long_lists_are_cut_and_counted():
    pairs = [(make_answer(f"{n:03}", True), make_answer(f"{n:03}", False)) for n in range(SHOWN + 5)]
    page = show_changes(list_changes([a for a, _ in pairs], [b for _, b in pairs], "boats"), {})
    assert (
        f"<summary>{SHOWN + 5} became safe (5 more are not shown)</summary>" in page
        and page.count('class="item"') == SHOWN
    )
    assert show_changes([], {}) == "<p>No item changed sides.</p>"


def test_the_figure_has_a_mark_for_each_score_of_each_evaluation():
    share = {"share": 0.5, "low": 0.4, "high": 0.7}
    rows = [
        ("ASR, all answers", [share, share]),
        ("  TYPO", [share, None]),
        ("  SD", [share, {**share, "share": None}]),
    ]
    svg = draw_scores(rows, ["before", "after"], "scores-0")
    assert svg == draw_scores(rows, ["before", "after"], "scores-0"), "the same bytes"
    for text in ("ASR, all answers", "TYPO", "before", "after"):
        assert text in svg
    assert svg.startswith('<svg role="img"') and 'id="scores-0-' in svg
