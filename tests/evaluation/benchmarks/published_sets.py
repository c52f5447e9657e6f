"""Folders of 20 and more harmless items in the layout of each further public set."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
from published import put, write_table

IMAGE = b"x"


def write_vlguard(folder: Path) -> Path:
    """12 harmful images of two categories, and 10 harmless ones with two requests each."""
    rows = []
    for n in range(22):
        safe = n >= 12
        image = f"{'boats' if safe else 'anchors'}/{n}.jpg"
        replies = [{"safe_instruction": f"Describe boat {n}.", "response": "It is a boat."}]
        replies += [{"unsafe_instruction": f"A request to refuse {n}.", "response": "No."}]
        if not safe:
            replies = [{"instruction": f"What is on picture {n}?", "response": "No."}]
        row = {"id": f"{n:04}", "image": image, "safe": safe, "instr-resp": replies}
        rows.append(row if safe else row | {"harmful_category": f"kind {n % 2}", "harmful_subcategory": "x"})
        put(folder / "test" / image, IMAGE)
    put(folder / "test.json", json.dumps(rows))
    return folder


def write_siuo(folder: Path) -> Path:
    """21 items of three domains."""
    rows = [
        {
            "question_id": n,
            "image": f"S-{n:02}.png",
            "question": f"May I paint boat {n}?",
            "category": f"domain {n % 3}",
            "safety_warning": "Mind the wind.",
        }
        for n in range(1, 22)
    ]
    put(folder / "siuo_gen.json", json.dumps(rows))
    for row in rows:
        put(folder / "images" / row["image"], IMAGE)
    return folder


def write_vlsbench(folder: Path) -> Path:
    """20 items of two categories."""
    fields = {"sub_category": "x", "source": "generation"}
    rows = [
        {"instruction_id": n, "instruction": f"How do I use this, {n}?", "image_path": f"imgs/{n}.png", **fields}
        | {"category": "Sails" if n % 2 else "Masts"}
        for n in range(20)
    ]
    put(folder / "data.json", json.dumps(rows))
    for row in rows:
        put(folder / row["image_path"], IMAGE)
    return folder


def write_mssbench(folder: Path) -> Path:
    """10 pairs of images with two questions each."""
    rows = [
        {
            "safe_image_path": f"{n}_safe.jpg",
            "unsafe_image_path": f"{n}_unsafe.jpg",
            "unsafe_image": "a storm",
            "intent": "sail",
            "Type": f"type {n % 2}",
            "queries": [f"How do I sail {n}?", f"How fast is boat {n}?"],
        }
        for n in range(10)
    ]
    put(folder / "combined.json", json.dumps({"chat": rows, "embodied": []}))
    for row in rows:
        for name in ("safe_image_path", "unsafe_image_path"):
            put(folder / "chat" / str(row[name]), IMAGE)
    return folder


def write_video_safetybench(folder: Path) -> Path:
    """12 videos, each with two questions."""
    for kind in ("harmful", "benign"):
        rows = [
            {
                "question_id": f"{kind}_{n}",
                "question": f"A {kind} question {n}.",
                "harmful_intention": f"A placeholder intention {n}.",
                "video_path": f"video/{n % 3}_boats/{n}.mp4",
                "category": f"{n % 3}_boats",
                "subcategory": "x",
            }
            for n in range(12)
        ]
        put(folder / f"{kind}_data.json", json.dumps(rows))
    for n in range(12):
        put(folder / f"video/{n % 3}_boats/{n}.mp4", IMAGE)
    return folder


def make_sound(samples: int) -> bytes:
    """Return a silent WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(2 * samples))
    return file.getvalue()


def write_parquet(path: Path, rows: list[dict]) -> Path:
    """Write rows as Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def write_voicebench(folder: Path) -> Path:
    """20 requests in two files."""
    for part in range(2):
        rows = [
            {"prompt": f"Say something about boat {n}.", "audio": {"bytes": make_sound(80 + n), "path": f"{n}.wav"}}
            for n in range(10 * part, 10 * part + 10)
        ]
        write_parquet(folder / f"advbench/test-0000{part}-of-00002.parquet", rows)
    return folder


def write_jalmbench(folder: Path) -> Path:
    """20 spoken requests of two sources, and 4 attacks of which each has a text beside it."""
    for name, count in (("HarmfulQuery/AHarm", 20), ("Text_Transferred_Jailbreak/PAP", 4)):
        rows = [
            {
                "id": n,
                "text": f"Please, about boat {n}?",
                "original_text": f"About boat {n}?",
                "source": "AdvBench" if n % 2 else "HarmBench",
                "audio": {"bytes": make_sound(80), "path": None},
                **({"prompt": "Answer this."} if count == 4 else {}),
            }
            for n in range(count)
        ]
        write_parquet(folder / f"{name}.parquet", rows)
    return folder


def write_harmbench(folder: Path) -> Path:
    """10 standard, 6 contextual and 4 copyright behaviours."""
    kinds = ["standard"] * 10 + ["contextual"] * 6 + ["copyright"] * 4
    columns = ("Behavior", "FunctionalCategory", "SemanticCategory", "Tags", "ContextString", "BehaviorID")
    rows = [
        dict(
            zip(
                columns,
                (
                    f"Paint boat {n}",
                    kind,
                    f"kind {n % 2}",
                    "",
                    f"Boat {n} is red." * (kind == "contextual"),
                    f"boat_{n}",
                ),
                strict=True,
            )
        )
        for n, kind in enumerate(kinds)
    ]
    write_table(folder / "data/behavior_datasets/harmbench_behaviors_text_all.csv", rows)
    return folder


def write_strongreject(folder: Path) -> Path:
    """20 prompts of four categories."""
    rows = [
        {"category": f"kind {n % 4}", "source": "custom", "forbidden_prompt": f"Paint boat {n}, please."}
        for n in range(20)
    ]
    write_table(folder / "strongreject_dataset/strongreject_dataset.csv", rows)
    return folder


def write_jailbreakbench(folder: Path) -> Path:
    """10 goals to refuse and 10 benign ones, of two categories."""
    for kind in ("harmful", "benign"):
        rows = [
            {"Index": str(n), "Goal": f"A {kind} goal {n}", "Target": "Sure", "Behavior": f"b{n}", "Category": f"kind {n % 2}", "Source": "x"}
            for n in range(10)
        ]  # fmt: skip
        write_table(folder / f"data/{kind}-behaviors.csv", rows)
    return folder


def write_advbench(folder: Path) -> Path:
    """20 requests."""
    rows = [{"goal": f"Paint boat {n}", "target": f"Sure, here is how to paint boat {n}"} for n in range(20)]
    write_table(folder / "data/advbench/harmful_behaviors.csv", rows)
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "vlguard": write_vlguard,
    "siuo": write_siuo,
    "vlsbench": write_vlsbench,
    "mssbench": write_mssbench,
    "video_safetybench": write_video_safetybench,
    "voicebench_advbench": write_voicebench,
    "jalmbench": write_jalmbench,
    "harmbench": write_harmbench,
    "strongreject": write_strongreject,
    "jailbreakbench": write_jailbreakbench,
    "advbench": write_advbench,
}
