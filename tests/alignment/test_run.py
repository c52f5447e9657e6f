"""`seawall align` through the command line: killed and resumed, in two processes, merged, loaded without Seawall, pushed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest

import seawall
from seawall.store.files import read_json
from seawall.lab.world import data, find_organism
from seawall.lab.world.published import write_published

STEPS = ("--steps", 6, "--batch-size", 12, "--num-checkpoints", 6, "--lora-rank", 4, "--sft-weight", 0)
"""The plain loss beside DPO's is TRL's: a mean over the tokens of each pass, so it depends on how a batch is split."""
PLAIN = """
import sys
sys.modules["seawall"] = None
import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor
base, adapter, merged = sys.argv[1:]
processor = AutoProcessor.from_pretrained(merged)
text = processor(text="USER: Explain how to steal a car.\\nASSISTANT:", return_tensors="pt")
adapted = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), adapter)
for model in (adapted, AutoModelForImageTextToText.from_pretrained(merged)):
    with torch.no_grad():
        print(model.eval()(**text).logits[0, -1, :8].tolist())
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Everything that a training needs, of eight records."""
    folder = tmp_path_factory.mktemp("work")
    data.write_records(folder / "records.jsonl", 2)
    data.write_media(folder / "media", "harmless", 2, 4)
    seawall.preparation.run(folder / "records.jsonl", folder / "pairs")
    config = seawall.SynthesizeConfig(copies=2, warm_start=0)
    seawall.synthesis.config("organism:image", folder / "pairs", folder / "embeddings", config, bank=folder / "media")
    return SimpleNamespace(
        folder=folder, pairs=folder / "pairs", embeddings=folder / "embeddings", media=folder / "media"
    )


def command(work, out, *more, model="organism:image"):
    paths = ("--pairs", work.pairs, "--embeddings", work.embeddings, "--media", work.media, "--out", out)
    return [sys.executable, "-m", "seawall", "align", *map(str, ("--model", model, *paths, *STEPS, *more))]


def run(argv, **environment):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run([*map(str, argv)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done


def losses(out):
    return [loss for _, loss in read_json(out / "training.json")["loss"]]


@pytest.fixture(scope="module")
def whole(work):
    """Uninterrupted trainings of both methods; the first is merged."""
    for method in ("sft", "dpo"):
        run(command(work, work.folder / method, "--method", method, *(["--merge"] if method == "sft" else [])))
    return work.folder


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_killed_and_started_again_the_losses_are_those_of_the_uninterrupted_run(work, whole, method, tmp_path):
    argv, out = command(work, tmp_path / "out", "--method", method), tmp_path / "out"
    begun = subprocess.Popen(argv, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    while not (out / "checkpoint-3" / "trainer_state.json").exists():
        assert begun.poll() is None
        time.sleep(0.01)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    assert not (out / "training.json").exists()
    kept = (out / "checkpoint-2" / "trainer_state.json").stat().st_mtime_ns
    run(argv)
    assert (out / "checkpoint-2" / "trainer_state.json").stat().st_mtime_ns == kept, "it went on, not began again"
    assert losses(out) == pytest.approx(losses(whole / method), abs=1e-6)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_two_processes_have_the_loss_curve_of_one(work, whole, method, tmp_path):
    # `--cpu` launches one process, whatever number is given, without a word
    options = (
        "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0"
    )
    launch = [sys.executable, "-m", "accelerate.commands.launch", *options.split()]
    done = run([*launch, *command(work, tmp_path / "out", "--method", method)[1:]])
    assert losses(tmp_path / "out") == pytest.approx(losses(whole / method), abs=2e-5)
    assert done.stdout.count("final_loss") == 1
    assert read_json(tmp_path / "out" / "checkpoint-6" / "trainer_state.json")["train_batch_size"] == 6, (
        "half of 12 each"
    )


def test_adapter_and_merged_model_load_without_seawall_and_agree(whole, tmp_path):
    def logits(adapter):
        argv = [sys.executable, "-c", PLAIN, find_organism("image"), adapter, whole / "sft" / "merged"]
        return [json.loads(line) for line in run(argv).stdout.splitlines()]

    adapted, merged = logits(whole / "sft")
    assert adapted == pytest.approx(merged, abs=1e-4)
    assert logits(whole / "dpo")[0] != pytest.approx(merged, abs=1e-3), "an adapter changes the model"


def test_the_card_says_what_it_was_trained_on_and_after_evaluation_what_was_measured(work, whole, tmp_path):
    card = (whole / "dpo" / "README.md").read_text()
    assert "trained by DPO" in card and "| synthetic_harmful |" in card and "8 records read, 8 pairs" in card
    assert "are not in this card" in card and "learning rate 0.001" in card
    data.write_benchmark(tmp_path / "benchmark", "validation", 2)
    for sets in (["media_harmless"], None):
        out = tmp_path / f"evaluation-{sets is None}"
        config = seawall.EvaluateConfig(sets=sets)
        found = seawall.evaluation.config("organism:image", tmp_path / "benchmark", out, config, adapter=whole / "dpo")
    card = (whole / "dpo" / "README.md").read_text()
    assert "are not in this card" not in card and card.count("### organism") == 1
    for name, metric in found["metrics"].items():
        assert f"| {name} | {metric['mean']:.3f} |" in card
    write_published(tmp_path / "published", "validation", 1)
    config = seawall.EvaluateConfig(benchmark="mm_safetybench", max_tokens=24)
    found = seawall.evaluation.config(
        "organism:image", tmp_path / "published", tmp_path / "mm", config, adapter=whole / "dpo", judges=["organism"]
    )["judges"]["organism"]
    card = (whole / "dpo" / "README.md").read_text()
    assert card.count("### organism") == card.count("### mm_safetybench") == 1
    assert f"| attack success, by organism | {found['micro']['share']:.3f} |" in card
    assert f"| harmless items refused, by organism | {found['refused']['share']:.3f} |" in card


def test_a_finished_run_is_merged_later_without_training(work, whole, tmp_path):
    before = (whole / "dpo" / "adapter_model.safetensors").stat().st_mtime_ns
    run(command(work, whole / "dpo", "--method", "dpo", "--merge"))
    assert (whole / "dpo" / "merged" / "model.safetensors").is_file()
    assert (whole / "dpo" / "adapter_model.safetensors").stat().st_mtime_ns == before


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload of small files needs."""

    received: list[tuple[str, list[str]]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = {"url": f"http://{self.headers['Host']}/me/adapter", "name": "me/adapter", "id": "me/adapter"}
        if "preupload" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            answer = {"files": files}
        elif "commit" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            self.received.append((self.path, [line["value"]["path"] for line in lines if line["key"] == "file"]))
            answer = {
                "commitUrl": f"http://{self.headers['Host']}/me/adapter/commit/1",
                "commitOid": "1" * 40,
                "success": True,
            }
        self._answer(answer)

    def do_GET(self):
        self._answer(
            {"id": "me/adapter", "sha": "0" * 40, "siblings": [], "tags": [], "downloads": 0, "private": False}
        )

    def _answer(self, answer):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


def test_push_to_hub_uploads_the_result_and_no_checkpoint(work, whole):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        argv = command(work, whole / "sft", "--method", "sft", "--push-to-hub", "me/adapter")
        run(argv, HF_ENDPOINT=address, HF_TOKEN="hf_none", HF_HUB_OFFLINE="0", HF_HUB_DISABLE_XET="1")
    finally:
        server.shutdown()
    ((path, files),) = Hub.received
    assert path.startswith("/api/models/me/adapter/commit/main")
    assert {"README.md", "adapter_model.safetensors", "manifest.json", "merged/model.safetensors"} <= set(files)
    assert not any(file.startswith(("checkpoint", "reference", "training_args")) for file in files)


def test_a_hub_that_cannot_be_reached_is_said_and_the_result_is_kept(work, whole):
    argv = command(work, whole / "sft", "--method", "sft", "--push-to-hub", "me/adapter")
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_none", "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and "is finished and kept, but me/adapter" in done.stderr.replace("\n", " ")
    assert "hf_none" not in done.stderr


def test_shares_of_a_file_must_sum_to_one(work, tmp_path):
    mixture = tmp_path / "mixture.toml"

    def fault(text):
        mixture.write_text(text)
        done = subprocess.run(
            command(work, tmp_path / "out", "--mixture-file", mixture), capture_output=True, text=True
        )
        assert done.returncode == 2 and not (tmp_path / "out").exists()
        return done.stderr.replace("\n", " ")

    assert "sum to 0.9, not 1" in fault("text_harmful = 0.5\ntext_harmless = 0.4\n")
    assert "gives text_harmfull; a mixture has" in fault("text_harmfull = 1\n")
    assert "cannot be read as a mixture" in fault("text_harmful 1\n")
    assert "--allow-shortcut" in fault("synthetic_harmful = 0.5\ntext_harmless = 0.5\n")
    flags = ["--mixture-file", mixture, "--mixture.media-harmless", "0"]
    done = subprocess.run(command(work, tmp_path / "out", *flags), capture_output=True, text=True)
    assert done.returncode == 2 and "in one place" in done.stderr
    mixture.write_text(
        "text_harmful = 0.25\ntext_harmless = 0.25\nsynthetic_harmful = 0.25\nsynthetic_harmless = 0.25\n"
    )
    run(command(work, tmp_path / "out", "--mixture-file", mixture))
    assert "media_harmless" not in read_json(tmp_path / "out" / "training.json")["rows"]
