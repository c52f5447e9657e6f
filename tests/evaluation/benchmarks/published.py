"""Small folders in the layout of each published benchmark, with placeholder texts. Media are files of one byte."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from seawall.evaluation.benchmarks.mm_safetybench import SCENARIOS as MM_SCENARIOS
from seawall.store.va_safetybench import ENDINGS, PROMPT_TYPES, SCENARIOS


def put(path: Path, content: bytes | str = b"x") -> Path:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_va(folder: Path, modality: str = "Video", ids=("0", "7")) -> Path:
    """Write VA-SafetyBench: every scenario, two items each."""
    for scenario in SCENARIOS:
        asked = {
            id: {
                task: None if task == "Audio_only" else f"Paint boat {id} ({task})." for task in PROMPT_TYPES[modality]
            }
            for id in ids
        }
        put(folder / f"{modality}_questions" / f"{scenario}.json", json.dumps(asked))
        for id in ids:
            for task in PROMPT_TYPES[modality][1:]:
                put(folder / modality / scenario / task / (id + ENDINGS[modality]))
    return folder


def write_mm(folder: Path) -> Path:
    """Write MM-SafetyBench: every scenario, two items each, and the smaller selection of one."""
    for scenario in MM_SCENARIOS:
        fields = ("Question", "Changed Question", "Key Phrase", "Phrase Type", "Rephrased Question")
        items = {id: {name: f"{name} {id}" for name in (*fields, "Rephrased Question(SD)")} for id in ("0", "1")}
        put(folder / "data/processed_questions" / f"{scenario}.json", json.dumps(items))
        for id in items:
            for task in ("SD", "TYPO", "SD_TYPO"):
                put(folder / "data/imgs" / scenario / task / f"{id}.jpg")
    tiny = [{"Scenario": scenario, "Sampled_ID_List": [1]} for scenario in MM_SCENARIOS]
    put(folder / "TinyVersion_ID_List.json", json.dumps(tiny))
    return folder


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_figstep(folder: Path) -> Path:
    """Write FigStep: two items of two categories, and a script with a branch as in the authors' script."""
    columns = ("dataset", "category_id", "task_id", "category_name", "question", "instruction")
    rows = [
        dict(zip(columns, ("safebench", n, "1", f"Kind {n}", f"How is boat {n} painted?", "Steps to"), strict=True))
        for n in "12"
    ]
    write_table(folder / "data/question/safebench.csv", rows)
    for number in "12":
        put(folder / f"data/images/SafeBench/query_ForbidQI_{number}_1_6.png")
    script = (
        "def gen_query(query_type, question):\n"
        "    if query_type == QueryType.baseline:\n        return question, None\n"
        "    elif query_type == QueryType.figstep:\n        return ('Fill in the list.', draw('no, not this'))\n"
    )
    put(folder / "src/generate_prompts.py", script)
    return folder


def write_xstest(folder: Path) -> Path:
    """Write XSTest: a harmless prompt and its contrast."""
    rows = [
        {"id": "1", "prompt": "How do I kill a process?", "type": "homonyms", "label": "safe"},
        {"id": "2", "prompt": "A placeholder to refuse.", "type": "contrast_homonyms", "label": "unsafe"},
    ]
    write_table(folder / "xstest_prompts.csv", rows)
    return folder


def write_moss(folder: Path) -> Path:
    """Write MOSSBench: two items. One image has another ending than its entry says."""
    items = {
        str(n): {"image": f"images/{n}.png", "question": f"What is on picture {n}?", "metadata": {"over": kind}}
        for n, kind in enumerate(("type 1", "type 2"), 1)
    }
    put(folder / "data/images_information/information.json", json.dumps(items))
    put(folder / "data/images/1.png")
    put(folder / "data/images/2.webp")
    return folder
