"""The report page of a demo, and its table in the terminal."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from pathlib import Path

import pytest

from seawall.errors import SeawallError
from seawall.lab.benchmark import read_items
from seawall.lab.metrics import JUDGE, measure, measure_by_form
from seawall.lab.pages import print_results
from seawall.lab.world import data
from seawall.reporting.run import report
from seawall.store.embeddings import Entry
from seawall.store.files import read_json, write_json, write_jsonl
from seawall.store.items import Answer, Item, Verdict

SHARE = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 8}
HOSTILE = "<script>alert(1)</script>"
REFUSING = {  # arm -> share of harmful, of harmless requests that it refuses
    "base": (0.04, 0.02),
    "safety_prompt": (0.1, 0.05),
    "text_only": (0.7, 0.5),
    "rendered_media": (0.6, 0.2),
    "sea_paper": (0.5, 0.1),
    "seawall": (0.94, 0.15),
    "real_media": (0.99, 0.1),
}


def fake_demo(out: Path, *, arms=tuple(REFUSING), seeds=(0, 1), phrases=4, answer="To {}, begin.", stores=True) -> Path:
    """Write the files of a finished demo that the report reads."""
    rng = random.Random(0)
    data.write_benchmark(out / "benchmark", "test", phrases)
    items = read_items(out / "benchmark")

    def make_answer(item: Item, arm: str, share: float) -> Answer:
        refuse = rng.random() < share * REFUSING[arm][not item.harmful]
        outcome = "other" if rng.random() < 0.03 else "refused" if refuse else "answered"
        verdict = Verdict(judge=JUDGE, unsafe=outcome == "answered", refused=outcome == "refused", reason=outcome)
        return Answer(
            task="organism",
            id=item.id,
            cluster=item.cluster,
            scenario=item.scenario,
            prompt_type=item.prompt_type,
            phrase=item.phrase,
            harmful=item.harmful,
            text="I can't help with that." if refuse else answer.format(item.phrase),
            verdicts={JUDGE: verdict},
        )

    points = {arm: [] for arm in arms}
    forms = {}
    for arm in arms:
        for steps, share in ((100, 0.3), (200, 0.6), (400, 1)) if arm not in ("base", "safety_prompt") else ((0, 1),):
            runs = [[make_answer(item, arm, share) for item in items] for _ in seeds]
            figures = {name: dataclasses.asdict(figure) for name, figure in measure(runs).items()}
            points[arm].append({"steps": steps, **figures})
        forms[arm] = {
            form: {name: dataclasses.asdict(figure) for name, figure in figures.items()}
            for form, figures in measure_by_form(runs).items()
        }
        for seed, answers in zip(seeds, runs, strict=True):
            (out / f"seed{seed}" / arm / "evaluation").mkdir(parents=True)
            write_jsonl(out / f"seed{seed}" / arm / "evaluation" / "answers.jsonl", answers)
    for arm, most in (("seawall", 20), ("sea_paper", 60)) if stores else ():
        for seed in seeds:
            folder = out / f"seed{seed}" / f"embeddings-{arm}"
            folder.mkdir(parents=True)
            write_jsonl(folder / "index.jsonl", [make_entry(rng, number, most) for number in range(20)])
    vsr = {"records": 20, "vsr": 0.97, "steps_mean": 8.1, "seconds_per_embedding": 0.2}
    results = {
        "schema": 2,
        "organism": "image",
        "method": "sft",
        "seeds": list(seeds),
        "arms": {arm: {k: v for k, v in points[arm][-1].items() if k != "steps"} for arm in arms},
        "forms": forms,
        "published": {
            "benchmark": "mm_safetybench",
            "arms": {arm: {"SD": {"harmful": SHARE, "harmless": SHARE}} for arm in arms if arm in ("base", "seawall")},
        },
        "synthesis": vsr if stores else dict.fromkeys(vsr),
        "seconds": {"prepare": 0.1, "synthesize": 61.2, "align": 300.0, "evaluate": 90.5},
        "versions": {"seawall": "0.1.0", "torch": "2.13.0"},
    }
    write_json(out / "plane.json", points)
    write_json(out / "results.json", results)
    write_json(out / "manifest.json", {"schema": 2, "stage": "demo", "config": {}, "inputs": {}, "complete": True})
    return out


def make_entry(rng: random.Random, number: int, most: int) -> Entry:
    steps = most if most == 60 else rng.randrange(4, most)
    curve = [round(3 * rng.uniform(0.8, 1.2) * 0.02 ** (step / steps), 4) for step in range(steps)]
    return Entry(key=f"{number}#0", verified=number > 1, steps=steps, curve=(*curve, 0.0))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return fake_demo(tmp_path_factory.mktemp("demo"), answer=HOSTILE)


@pytest.fixture(scope="module")
def page(run) -> str:
    assert report([run]) == [run / "report.html"]
    return (run / "report.html").read_text("utf-8")


def test_every_arm_and_mean_is_on_the_page(run, page):
    for arm, metrics in read_json(run / "results.json")["arms"].items():
        row = re.search(rf'<th scope="row"[^\n]*>{arm}</th>(.*?)</tr>', page, re.DOTALL)[1]
        assert re.findall(r"<td>([\d.]+)<", row) == [f"{metric['mean']:.2f}" for metric in metrics.values()]


def test_answers_are_escaped(page):
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page


def test_the_page_loads_nothing_from_the_network(page):
    without_namespaces = re.sub(r'\bxmlns(:\w+)?="[^"]*"', "", page)
    assert "http:" not in without_namespaces and "https:" not in without_namespaces
    assert all(target.startswith(("data:", "#")) for target in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert "@import" not in page


def test_no_two_elements_share_an_id(page):
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 0


def test_side_by_side_shows_both_forms_of_each_set_with_every_answer(run, page):
    assert page.count('<section class="item">') == 6
    assert page.count("as picture") == page.count("as writing") == 3
    assert page.count('class="said"') == 6 * len(REFUSING)


def test_a_verdict_is_shown_by_word_and_colour(tmp_path):
    report([fake_demo(tmp_path / "demo", arms=("base", "seawall"), phrases=9)])
    page = (tmp_path / "demo" / "report.html").read_text("utf-8")
    shown = set(re.findall(r'<dd><span class="verdict (\w+)">([^<]*)<', page))
    assert {("bad", "✗ answered"), ("good", "✓ refused"), ("good", "✓ answered")} <= shown
    assert shown <= {*shown, ("bad", "✗ refused"), ("grey", "other")}


def test_the_same_demo_gives_the_same_bytes(run, page):
    report([run])
    assert (run / "report.html").read_text("utf-8") == page


def test_a_demo_of_few_arms_needs_no_store(tmp_path, capsys):
    out = fake_demo(tmp_path / "demo", arms=("base", "text_only"), seeds=(0,), stores=False)
    report([out])
    page = (out / "report.html").read_text("utf-8")
    assert "sea_paper" not in page and "With one seed (0)" in page
    print_results(read_json(out / "results.json"))
    assert "VSR" not in capsys.readouterr().out


def test_a_quick_run_says_that_it_is_not_a_result(tmp_path):
    out = fake_demo(tmp_path / "demo", arms=("base",), phrases=2, stores=False)
    write_json(
        out / "manifest.json",
        {"schema": 2, "stage": "demo", "config": {"phrases": 2, "part": "validation"}, "inputs": {}, "complete": True},
    )
    report([out])
    page = (out / "report.html").read_text("utf-8")
    assert "not a result: only 2 phrases" in page and "validation phrases" in page


@pytest.mark.parametrize("found", [{"schema": 1}, {}, []])
def test_another_schema_is_refused(tmp_path, found):
    write_json(tmp_path / "manifest.json", {"schema": 2, "stage": "demo", "config": {}, "inputs": {}, "complete": True})
    write_json(tmp_path / "results.json", found)
    with pytest.raises(SeawallError, match=r"has schema (1|None); this version of Seawall reads schema 2"):
        report([tmp_path])


def test_the_table_has_one_line_per_arm(run, capsys):
    results = json.loads((run / "results.json").read_text())
    print_results(results)
    lines = capsys.readouterr().out.splitlines()
    for arm, metrics in results["arms"].items():
        (line,) = [line for line in lines if line.startswith(arm)]
        for metric in metrics.values():
            assert f"{metric['mean']:.2f} [{metric['low']:.2f}, {metric['high']:.2f}]" in line
    assert any("VSR 0.97, 8.1 steps" in line for line in lines)


def test_a_narrow_terminal_gets_the_interval_below_its_mean(run, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    print_results(read_json(run / "results.json"))
    out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 80
    assert len(re.findall(r"[01]?\.\d\d-[01]?\.\d\d", out)) == 7 * len(REFUSING) + 4, (
        "and two columns for each of two arms"
    )
