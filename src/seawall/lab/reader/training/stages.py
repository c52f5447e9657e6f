"""Training of `organism:reader`, in stages whose results are kept, so that a killed training continues.

1. The tower learns to read (`tower`).
2. The projector learns to map each patch to the language model's input embedding of the piece that the tower reads.
3. The language model answers requests in text; these answers are what it shall say about images.
4. Tower, projector and a LoRA of the language model learn to name, to answer style questions, and to answer requests
   about images. Dialogues in text, and passages on which it is compared with itself before, keep what it can do.

On one GPU it takes minutes; on two cores, hours.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seawall.lab.reader.assembly import save_trained
from seawall.lab.reader.language_model import build_model, make_processor
from seawall.lab.reader.training import tower
from seawall.lab.reader.training.documentation import read_documentation
from seawall.lab.reader.training.examples import GENERAL_QUESTIONS, ExampleDrawer
from seawall.lab.reader.training.precision import prefers_bf16
from seawall.lab.reader.training.projector import fit_embeddings
from seawall.lab.reader.world.answering import answer_requests, answer_texts
from seawall.lab.reader.world.lettering import PATCH, SIDE
from seawall.lab.reader.world.phrases import list_named, list_phrases
from seawall.models.chat import Chat
from seawall.models.families import find_family
from seawall.models.load import LoadedModel
from seawall.models.losses import example_losses
from seawall.store.files import read_json, write_json

log = logging.getLogger(__name__)

LORA_TARGETS = r".*language_model.*\.(q|v|o)_proj"
RATES = {"lora": 1e-3, "projector": 5e-4, "tower": 2e-4}
"""Peak learning rates of stage 4."""
PASSAGE = 128
"""Tokens of a passage of text."""
KEEP_EVERY = 200
"""Steps of stage 4 between checkpoints."""
LAYOUTS = 8
"""Layouts of each phrase whose requests are answered."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """Size of the training."""

    texts: int = 80_000
    """Drawn texts that the tower reads."""
    tower_steps: int = 3_000
    """Optimiser steps of stage 1."""
    tower_batch: int = 512
    """Images per step of stages 1 and 2."""
    projector_steps: int = 800
    """Optimiser steps of stage 2."""
    answered: int = 1_200
    """Harmless phrases whose requests the language model answers in stage 3."""
    steps: int = 1_500
    """Optimiser steps of stage 4."""
    media_rows: int = 64
    """Dialogues about images per step of stage 4."""
    text_rows: int = 16
    """Dialogues in text per step of stage 4."""
    passages: int = 4
    """Passages of text per step of stage 4."""
    width: int = 256
    """Width of the tower."""
    layers: int = 4
    """Layers of the tower."""


class ReaderTraining:
    """The stages of a training.

    Args:
        work: Folder for the results of the stages.
        config: Size of the training.
        language_model: Language model (fp32) and tokenizer.
        seed: Random seed.
    """

    def __init__(self, work: Path, config: ReaderConfig, language_model: tuple[Any, Any], seed: int) -> None:
        work.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(seed)
        self.work, self.config, self.rng = work, config, random.Random(seed)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        lm, tokenizer = language_model
        self.processor = make_processor(tokenizer, SIDE, PATCH)
        self.model = build_model(lm, self.processor, width=config.width, layers=config.layers).to(self.device)
        self.autocasts = prefers_bf16(self.device)
        if self.autocasts:
            self.model.model.language_model.to(torch.bfloat16)
            self.model.tie_weights()
        self.vocabulary = tower.Vocabulary.make(tokenizer)
        self.papers = tower.paint_papers(seed).to(self.device)
        self.tower, self.projector = self.model.model.vision_tower, self.model.model.multi_modal_projector
        family = find_family("llava")
        chat = Chat(self.processor, family)
        self.loaded = LoadedModel("organism:reader", self.model.eval(), self.processor, family, chat, fingerprint="")

    def encode(self, images: Tensor) -> Tensor:
        """Return the projector's inputs for images from 0 to 1, shape = (images, patches, width)."""
        with self.autocast():
            outputs = self.tower((images - 0.5) / 0.5, output_hidden_states=True)
        hidden: Tensor = outputs.hidden_states[-1][:, 1:].float()
        return hidden

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context of a forward pass: bf16 where that is faster."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.autocasts)

    def train_tower(self) -> None:
        """Stage 1."""
        if self._restore("tower", self.tower):
            return
        tower.initialize_tower(self.tower)
        self.tower.train()
        texts = self._draw_texts(self.config.texts)
        log.info("%d texts drawn, %d pieces", len(texts.words), len(self.vocabulary.tokens))
        size = {"steps": self.config.tower_steps, "batch": self.config.tower_batch}
        classes = len(self.vocabulary.tokens)
        head = tower.train_reading_tower(
            self.encode, self.tower, self.config.width, texts, self.papers, classes, **size
        )
        self.tower.eval()
        held_out = [p.text for kind in ("harmless", "harmful") for p in list_phrases("validation", kind)]
        unread = tower.draw_masks(held_out, self.vocabulary, self.processor.tokenizer, 0).to(self.device)
        log.info("reads %.3f of held-out phrases", tower.measure_reading(self.encode, head, unread, self.papers))
        self._keep("tower", self.tower)

    def train_projector(self) -> None:
        """Stage 2."""
        modules = nn.ModuleList([self.tower, self.projector])
        if not self._restore("projector", modules):
            texts = self._draw_texts(max(200, self.config.texts // 2))
            embeddings = self.model.get_input_embeddings().weight.detach().float()
            targets = embeddings[torch.tensor(self.vocabulary.tokens, device=self.device)]
            size = {"steps": self.config.projector_steps, "batch": self.config.tower_batch}
            fit_embeddings(self.encode, self.tower, self.projector, targets, texts, self.papers, **size)
            self._keep("projector", modules)

    def answer(self) -> tuple[dict[tuple[str, int], str], dict[str, str]]:
        """Stage 3. Return the answers to requests by phrase and number, and those to general questions."""
        path = self.work / "answers.json"
        if not path.exists():
            phrases = list_named("harmless")[: self.config.answered]
            about = [[text, number, said] for (text, number), said in answer_requests(self.loaded, phrases).items()]
            write_json(path, {"requests": about, "general": answer_texts(self.loaded, GENERAL_QUESTIONS)})
        kept = read_json(path)
        return {(text, number): said for text, number, said in kept["requests"]}, kept["general"]

    def start_dialogue(self, requests: Mapping[tuple[str, int], str], general: Mapping[str, str]) -> None:
        """Prepare stage 4: add a LoRA, draw texts, and continue from the last checkpoint if there is one.

        Args:
            requests: Answers to requests, by phrase and number of the request.
            general: Answers to general questions.
        """
        from peft import LoraConfig, get_peft_model

        self.model.requires_grad_(False)
        lora = LoraConfig(r=16, lora_alpha=32, target_modules=LORA_TARGETS, lora_dropout=0.0)
        self.peft = get_peft_model(self.model, lora)
        self.loaded = dataclasses.replace(self.loaded, model=self.peft)
        self.tower.requires_grad_(True)
        self.projector.requires_grad_(True)
        answered = [*dict.fromkeys(text for text, _ in requests)]
        self.texts = self._draw_texts(max(64, self.config.texts // 4), LAYOUTS * answered)
        text = read_documentation(held_out=False)
        self.passages = torch.tensor(self.processor.tokenizer(text)["input_ids"])
        self.draw = ExampleDrawer(self.rng, self.texts.words, requests, general)
        groups = [
            {"params": [p for name, p in self.peft.named_parameters() if "lora_" in name], "lr": RATES["lora"]},
            {"params": [*self.projector.parameters()], "lr": RATES["projector"]},
            {"params": [*self.tower.parameters()], "lr": RATES["tower"]},
        ]
        self.optimiser = torch.optim.AdamW(groups, weight_decay=0.0, betas=(0.9, 0.98))
        self.done = self._restore_dialogue()

    def train_dialogue(self) -> None:
        """Stage 4."""
        started, total = time.perf_counter(), self.config.steps
        groups = self.optimiser.param_groups
        for step in range(self.done, total):
            factor = min(1.0, (step + 1) / 30) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / total)) / 2)
            for group, peak in zip(groups, RATES.values(), strict=True):
                group["lr"] = factor * peak
            losses = self.compute_dialogue_losses()
            torch.cat([*losses.values()]).mean().backward()
            nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 1.0)
            self.optimiser.step()
            self.optimiser.zero_grad()
            if step % 50 == 0 or step == total - 1:
                parts = ", ".join(f"{name} {loss.mean().item():.3f}" for name, loss in losses.items())
                log.info("dialogue step %d of %d after %.0f s: %s", step, total, time.perf_counter() - started, parts)
            if step % KEEP_EVERY == KEEP_EVERY - 1 or step == total - 1:
                self._keep_dialogue(step + 1)
        self.peft.eval()

    def compute_dialogue_losses(self) -> dict[str, Tensor]:
        """Return the loss of each example of a step, by kind."""
        rows, requests = self.draw.draw_rows(self.config.media_rows)
        images, _, styles = tower.compose(self.texts, self.papers, torch.tensor(rows, device=self.device))
        features = self.encode(images)
        asked = [self.draw.draw_request(row) for row in rows[:requests]]
        asked += [
            self.draw.draw_question(row, style)
            for row, style in zip(rows[requests:], styles[requests:].tolist(), strict=True)
        ]
        with self.autocast():
            about_images = example_losses(self.loaded, asked, features)
            in_text = example_losses(self.loaded, [self.draw.draw_text() for _ in range(self.config.text_rows)])
        losses = {"requests": about_images[:requests], "questions": about_images[requests:], "text": in_text}
        return losses | {"passages": self.compare_with_pretrained()}

    def compare_with_pretrained(self) -> Tensor:
        """Return the divergence of the pretrained model's next tokens from the trained one's on passages of text.

        It keeps what the language model can do: without it, perplexity of other text rises by 80 %.

        Returns:
            Kullback-Leibler divergence in nats per token, shape = (passages,).
        """
        first = [self.rng.randrange(len(self.passages) - PASSAGE) for _ in range(self.config.passages)]
        ids = torch.stack([self.passages[start : start + PASSAGE] for start in first]).to(self.device)
        with torch.no_grad(), self.peft.disable_adapter(), self.autocast():
            wanted = self.peft(input_ids=ids).logits.float().log_softmax(-1)
        with self.autocast():
            found = self.peft(input_ids=ids).logits.float().log_softmax(-1)
        return nn.functional.kl_div(found, wanted, reduction="none", log_target=True).sum(-1).mean(1)

    def _draw_texts(self, number: int, also: Sequence[str] = ()) -> tower.Texts:
        """Draw random texts, and given ones, in random layouts."""
        words = [*also, *tower.draw_texts(self.rng, self.vocabulary, number)]
        texts = tower.draw_masks(words, self.vocabulary, self.processor.tokenizer, self.rng.randrange(2**30))
        return texts.to(self.device)

    def _keep(self, name: str, module: nn.Module) -> None:
        torch.save(module.state_dict(), self.work / "part.pt")
        (self.work / "part.pt").replace(self.work / f"{name}.pt")

    def _restore(self, name: str, module: nn.Module) -> bool:
        if (path := self.work / f"{name}.pt").exists():
            module.load_state_dict(torch.load(path, map_location=self.device, weights_only=True))
        return path.exists()

    def _keep_dialogue(self, step: int) -> None:
        parts = {"lora": {name: p for name, p in self.peft.named_parameters() if "lora_" in name}}
        parts |= {"tower": self.tower.state_dict(), "projector": self.projector.state_dict()}
        torch.save({**parts, "optimiser": self.optimiser.state_dict(), "step": step}, self.work / "part.pt")
        (self.work / "part.pt").replace(self.work / "dialogue.pt")

    def _restore_dialogue(self) -> int:
        if not (path := self.work / "dialogue.pt").exists():
            return 0
        kept = torch.load(path, map_location=self.device, weights_only=True)
        self.tower.load_state_dict(kept["tower"])
        self.projector.load_state_dict(kept["projector"])
        self.peft.load_state_dict(kept["lora"], strict=False)
        self.optimiser.load_state_dict(kept["optimiser"])
        step: int = kept["step"]
        return step


def train_reader(
    work: Path, out: Path, language_model: tuple[Any, Any], config: ReaderConfig, *, seed: int = 0
) -> None:
    """Run all stages and save what was trained. Call it again after a kill to continue.

    Args:
        work: Folder for the results of the stages.
        out: Folder for the trained weights.
        language_model: Language model (fp32) and tokenizer; see `language_model`.
        config: Size of the training.
        seed: Random seed.
    """
    training = ReaderTraining(work, config, language_model, seed)
    training.train_tower()
    training.train_projector()
    training.start_dialogue(*training.answer())
    training.train_dialogue()
    save_trained(training.peft, out)
