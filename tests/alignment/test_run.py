"""`align` on the built-in image model: killed and resumed, in two processes, merged, loaded without Seawall, uploaded.

The fixture `whole` holds the finished trainings that all tests share. Importing TRL takes longer than a training here,
so processes are forked from one that has imported it; only `accelerate launch` starts its own.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import huggingface_hub
import pytest
import torch

import seawall
from seawall import cli
from seawall.alignment.run import AlignResult
from seawall.errors import ArtifactError, ConfigError
from seawall.lab.organisms import find_organism
from seawall.store.files import read_json

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
MODEL = "organism:image"
CONFIG = seawall.AlignConfig(steps=6, batch_size=12, num_checkpoints=6, lora_rank=4, sft_weight=0)
"""TRL averages the SFT loss beside DPO's within each forward pass, so that loss depends on how a batch is divided."""
FLAGS = ("--steps", 6, "--batch-size", 12, "--num-checkpoints", 6, "--lora-rank", 4, "--sft-weight", 0)
"""The same settings for the command line."""
METHODS = ("sft", "dpo")
RUN = """
import sys
import torch
from seawall import cli
torch.set_num_threads(1)
out, *arguments = sys.argv[1:]
for method in METHODS:
    sys.argv = ["seawall", "align", *arguments, "--method", method, "--out", f"{out}/{method}"]
    try:
        cli.main()
    except SystemExit as exit:
        assert not exit.code
"""
"""Runs `seawall align` by each of METHODS."""
PLAIN = """
import json, sys
sys.modules["seawall"] = None
import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor
out, base, merged, *adapters = sys.argv[1:]
processor = AutoProcessor.from_pretrained(merged)
text = processor(text="USER: Explain how to steal a car.\\nASSISTANT:", return_tensors="pt")
adapted = [PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), path) for path in adapters]
with torch.no_grad(), open(out, "w") as file:
    for model in (AutoModelForImageTextToText.from_pretrained(merged), *adapted):
        print(json.dumps(model.eval()(**text).logits[0, -1, :8].tolist()), file=file)
"""
"""Writes logits of the merged model and of the model with each adapter."""


def align(work, out, method, **options):
    config = dataclasses.replace(CONFIG, method=method)
    return seawall.align(MODEL, work.pairs, work.embeddings, out, config, media=[work.bank], **options)


def arguments(work):
    paths = ("--pairs", work.pairs, "--embeddings", work.embeddings, "--media", work.bank)
    return [*map(str, ("--model", MODEL, *paths, *FLAGS))]


def fork(code, *argv):
    """Start a process that runs some code. It is forked from one that has imported the libraries, but not Seawall."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["peft", "trl.trainer.sft_trainer", "trl.trainer.dpo_trainer"])
    process = context.Process(target=exec, args=(f"import sys; sys.argv = {['', *map(str, argv)]}\n{code}", {}))
    process.start()
    return process


def losses(out):
    return [loss for _, loss in read_json(out / "training.json")["loss"]]


@pytest.fixture(scope="module")
def work(small_run):
    """Everything that a training needs. The losses are compared with those of processes with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield small_run
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole(work, tmp_path_factory):
    """Uninterrupted trainings by both methods, in folders of their names. The first one is merged."""
    folder = tmp_path_factory.mktemp("whole")
    for method in METHODS:
        align(work, folder / method, method, merge=method == "sft")
    return folder


@pytest.fixture(scope="module")
def killed(work, tmp_path_factory):
    """Trainings by both methods, each killed after its third step."""
    folder = tmp_path_factory.mktemp("killed")
    processes = [fork(f"METHODS = [{method!r}]\n{RUN}", folder, *arguments(work)) for method in METHODS]
    for method, process in zip(METHODS, processes, strict=True):
        while not (folder / method / "checkpoint-3" / "trainer_state.json").exists():
            assert process.is_alive()
            time.sleep(0.01)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_training_resumes_with_the_losses_of_the_uninterrupted_one(work, whole, killed, method):
    out = killed / method
    assert not (out / "training.json").exists()
    kept = (out / "checkpoint-2" / "trainer_state.json").stat().st_mtime_ns
    result = align(work, out, method)
    assert (out / "checkpoint-2" / "trainer_state.json").stat().st_mtime_ns == kept, "resumed, not started anew"
    assert losses(out) == pytest.approx(losses(whole / method), abs=1e-6)
    assert [loss for _, loss in result.loss] == losses(out) and result.final_loss == losses(out)[-1]


def test_two_processes_have_the_loss_curve_of_one(work, whole, tmp_path):
    # with `--cpu` accelerate silently starts one process, whatever number is given
    options = (
        "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0"
    )
    script = tmp_path / "run.py"
    script.write_text(f"METHODS = {METHODS}\n{RUN}")
    launch = [sys.executable, "-m", "accelerate.commands.launch", *options.split(), script, tmp_path, *arguments(work)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, launch)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("final_loss") == len(METHODS), "only the first process prints"
    for method in METHODS:
        assert losses(tmp_path / method) == pytest.approx(losses(whole / method), abs=2e-5)
        state = read_json(tmp_path / method / "checkpoint-6" / "trainer_state.json")
        assert state["train_batch_size"] == 6, "half of 12 each"


def test_adapter_and_merged_model_load_without_seawall_and_agree(whole, tmp_path):
    adapters = map(whole.joinpath, METHODS)
    process = fork(PLAIN, tmp_path / "logits", find_organism("image"), whole / "sft" / "merged", *adapters)
    process.join()
    assert process.exitcode == 0
    merged, sft, dpo = (json.loads(line) for line in (tmp_path / "logits").read_text().splitlines())
    assert sft == pytest.approx(merged, abs=1e-4)
    assert dpo != pytest.approx(merged, abs=1e-3), "an adapter changes the model"


def test_a_training_writes_its_card_and_a_typed_result(work, whole):
    card = (whole / "dpo" / "README.md").read_text()
    assert "trained by DPO" in card and "12 records read, 12 pairs" in card
    assert "have not been measured" in card and "learning rate 0.001" in card
    result = AlignResult.from_json(read_json(whole / "dpo" / "training.json"))
    assert [step for step, _ in result.loss] == [1, 2, 3, 4, 5, 6]
    assert {name: count.per_batch for name, count in result.examples.items()} == CONFIG.mixture.count_examples(12)
    for name, count in result.examples.items():
        assert f"| {name} | {count.available} | {count.per_batch} |" in card
    assert result.examples["media_harmless"].available == 3


def test_a_finished_training_is_merged_later_without_training(work, whole, monkeypatch):
    before = (whole / "dpo" / "adapter_model.safetensors").stat().st_mtime_ns
    monkeypatch.setattr("seawall.alignment.trainers.train", None)
    align(work, whole / "dpo", "dpo", merge=True)
    merged = (whole / "dpo" / "merged" / "model.safetensors").stat().st_mtime_ns
    align(work, whole / "dpo", "dpo", merge=True)
    assert (whole / "dpo" / "merged" / "model.safetensors").stat().st_mtime_ns == merged, "it is written once"
    assert (whole / "dpo" / "adapter_model.safetensors").stat().st_mtime_ns == before


def test_a_folder_of_another_training_is_refused(work, whole):
    config = dataclasses.replace(CONFIG, learning_rate=2e-3)
    with pytest.raises(ArtifactError, match=r"learning_rate: 0\.001 there, 0\.002 now"):
        seawall.align(MODEL, work.pairs, work.embeddings, whole / "sft", config, media=[work.bank])
    with pytest.raises(ConfigError, match="no adapter to merge"):
        config = dataclasses.replace(CONFIG, tuning="full")
        seawall.align(MODEL, work.pairs, work.embeddings, whole / "sft", config, merge=True)


class Hub(BaseHTTPRequestHandler):
    """The part of the Hugging Face Hub that an upload of small files needs."""

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


@pytest.fixture
def online(monkeypatch):
    """Let huggingface_hub use a server of this machine."""

    def use(address):
        monkeypatch.setenv("HF_TOKEN", "hf_none")
        for name, value in (("ENDPOINT", address), ("HF_HUB_OFFLINE", False), ("HF_HUB_DISABLE_XET", True)):
            monkeypatch.setattr(huggingface_hub.constants, name, value)

    return use


def test_push_to_hub_uploads_the_result_and_no_checkpoint(work, whole, online):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    online(f"http://127.0.0.1:{server.server_port}")
    try:
        align(work, whole / "sft", "sft", push_to_hub="me/adapter")
    finally:
        server.shutdown()
    ((path, files),) = Hub.received
    assert path.startswith("/api/models/me/adapter/commit/main")
    assert {"README.md", "adapter_model.safetensors", "manifest.json", "merged/model.safetensors"} <= set(files)
    assert not any(file.startswith(("checkpoint", "reference", "training_args")) for file in files)


def test_a_failed_upload_is_explained_and_the_result_is_kept(work, whole, online):
    online("http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="is finished and kept, but the upload to me/adapter failed") as caught:
        align(work, whole / "sft", "sft", push_to_hub="me/adapter")
    assert "hf_none" not in str(caught.value)
    assert read_json(whole / "sft" / "manifest.json")["complete"]


def test_the_command_line_takes_a_mixture_file(work, tmp_path, monkeypatch, capsys):
    mixture, out = tmp_path / "mixture.toml", tmp_path / "out"

    def run_cli(text, *more):
        mixture.write_text(text)
        flags = ["--mixture-file", str(mixture), "--out", str(out), "--steps", "1", *more]
        monkeypatch.setattr(sys, "argv", ["seawall", "align", *arguments(work)[:-10], "--batch-size", "12", *flags])
        code = 0
        try:
            cli.main()
        except SystemExit as exit:
            code = exit.code or 0
        stdout, stderr = capsys.readouterr()
        return code, stdout, stderr.replace("\n", " ")

    for text, more, message in (
        ("text_harmful = 0.5\ntext_harmless = 0.4\n", (), "sum to 0.9, not 1"),
        ("synthetic_harmful = 0.5\ntext_harmless = 0.5\n", (), "--allow-shortcut"),
        ("text_harmful = 1\n", ("--mixture.media-harmless", "0"), "Use only one"),
    ):
        code, _, stderr = run_cli(text, *more)
        assert code == 2 and message in stderr and not out.exists()
    quarters = "".join(
        f"{kind} = 0.25\n" for kind in ("text_harmful", "text_harmless", "synthetic_harmful", "synthetic_harmless")
    )
    code, stdout, _ = run_cli(quarters)
    assert code == 0 and json.loads(stdout)["final_loss"] is not None
    assert set(read_json(out / "training.json")["examples"]) == {line.split()[0] for line in quarters.splitlines()}
