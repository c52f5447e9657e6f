"""The Inspect provider `seawall/`: any model of the table of families, with or without an adapter, on real media.

Inspect asks one question at a time, from many coroutines; here those that wait are answered in one batch. As everywhere in
Seawall a prompt is an optional system prompt and one question with at most one medium, formatted as in training.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import mimetypes
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    Content,
    ContentData,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelCall,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from transformers import set_seed

from seawall.errors import DataError, SeawallError
from seawall.models.chat import Chat, Example
from seawall.models.families import find_family
from seawall.models.generate import Completion, generate_batch
from seawall.models.load import LoadedModel, load_model
from seawall.models.memory import halve_on_out_of_memory

MAX_TOKENS = 300
"""Longest answer where nobody says otherwise: the reference setting of VA-SafetyBench."""
GATHER_SECONDS = 0.03
"""A batch that is not full begins when no further question came for so long."""
HEEDED = "max_tokens, temperature, top_p, top_k, seed, max_connections"
"""Settings of Inspect that a model here knows."""


@dataclasses.dataclass(eq=False)
class Request:
    """A question that waits, and what became of it."""

    turn: Example
    modality: str
    limit: int
    decoding: Mapping[str, Any]
    outcome: Answer | Exception | None = None
    seconds: float = 0.0

    def fits(self, other: Request) -> bool:
        """Tell whether two requests can share a batch."""
        return (self.modality, self.limit, self.decoding) == (other.modality, other.limit, other.decoding)


class SeawallAPI(ModelAPI):
    """A local multimodal model behind Inspect.

    Args:
        model_name: As for `load_model`: a folder, a hub id, `organism:image`.
        base_url: Not used.
        api_key: Not used.
        config: Inspect's settings; `max_connections` is the batch size.
        adapter: Folder of a PEFT adapter made by `seawall align`.
        batch_size: Most questions in one forward pass, where `max_connections` does not say.
        precision: See `load_model`.
        device_map: See `load_model`.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),
        adapter: str | None = None,
        batch_size: int = 32,
        precision: Any = None,
        device_map: str | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self.batch_size = batch_size
        if config.seed is not None:
            set_seed(config.seed)
        try:
            folder = Path(adapter) if adapter else None
            self.loaded = load_model(model_name, folder, precision=precision, device_map=device_map)
        except SeawallError as error:
            raise PrerequisiteError(str(error)) from error
        self.views = {self.loaded.family.modality: self.loaded}
        self.waiting: list[Request] = []
        self.lock = anyio.Lock()
        self.media = tempfile.TemporaryDirectory(prefix="seawall-media-")

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> tuple[ModelOutput, ModelCall]:
        """Return the answer to a prompt; whoever gets the lock first answers for all who wait with it."""
        if tools:
            raise PrerequisiteError("seawall/ models have no tools. Use a task without tools.")
        system, question, medium, modality = self._read(input)
        turn = Example(question=question, medium=medium, system=system)
        limit = config.max_tokens or MAX_TOKENS
        request = Request(turn, modality or self.loaded.family.modality, limit, decode_settings(config))
        self.waiting.append(request)
        size = config.max_connections or self.batch_size
        try:
            async with self.lock:
                while request.outcome is None:
                    await self._gather(size)
                    batch = [request, *(r for r in self.waiting if r is not request and r.fits(request))][:size]
                    await anyio.to_thread.run_sync(self._answer, batch)
                    self.waiting = [r for r in self.waiting if r.outcome is None]
        finally:
            if request in self.waiting:  # cancelled
                self.waiting.remove(request)
        return self._output(request)

    def max_connections(self) -> int:
        """The batch size."""
        return self.batch_size

    def max_tokens(self) -> int | None:
        """Longest answer where neither task nor user says otherwise."""
        return MAX_TOKENS

    def connection_key(self) -> str:
        """Each model has its own batches."""
        return self.loaded.fingerprint

    def close(self) -> None:
        """Remove the media that this session wrote."""
        self.media.cleanup()

    async def _gather(self, size: int) -> None:
        """Wait until a batch is full, or nobody has joined for `GATHER_SECONDS`."""
        before = 0
        while before < len(self.waiting) < size:
            before = len(self.waiting)
            await anyio.sleep(GATHER_SECONDS)

    def _answer(self, batch: Sequence[Request]) -> None:
        """Give every request of a batch its outcome; runs in a thread, one at a time."""
        started = time.perf_counter()
        loaded = self._view(batch[0].modality)
        fit = []
        for request in batch:
            try:
                loaded.chat.encode(request.turn)
                fit.append(request)
            except SeawallError as error:  # an unreadable medium is this request's fault alone
                request.outcome = error
        try:
            done = 0

            def work(size: int) -> None:
                nonlocal done
                while done < len(fit):
                    rows = fit[done : done + size]
                    settings = {"max_new_tokens": rows[0].limit, "decoding": rows[0].decoding}
                    for row, outcome in zip(rows, generate_batch(loaded, [r.turn for r in rows], **settings), strict=True):
                        row.outcome = outcome
                    done += len(rows)

            if fit:
                halve_on_out_of_memory(work, len(fit))
        except Exception as error:  # each request raises it for its own sample
            for request in fit:
                request.outcome = request.outcome or error
        loaded.chat.forget()  # media are large, and asked about once
        for request in batch:
            request.seconds = time.perf_counter() - started

    def _view(self, modality: str) -> LoadedModel:
        """Return the model as its family's row for a modality takes it."""
        if modality not in self.views:
            config = self.loaded.model.config
            tower = getattr(getattr(config, "vision_config", None), "model_type", None)
            try:
                family = find_family(config.model_type, modality, tower)
            except SeawallError as error:
                raise PrerequisiteError(str(error)) from error
            chat = Chat(self.loaded.processor, family, context_length=self.loaded.chat.context_length)
            self.views[modality] = dataclasses.replace(self.loaded, family=family, chat=chat)
        return self.views[modality]

    def _read(self, messages: Sequence[ChatMessage]) -> tuple[str | None, str, Path | None, str | None]:
        """Return system prompt, question, medium and its modality of a prompt."""
        system = "\n\n".join(message.text for message in messages if message.role == "system")
        asked = [message for message in messages if message.role != "system"]
        if [message.role for message in asked] != ["user"]:
            roles = ", ".join(message.role for message in asked) or "nothing"
            raise PrerequisiteError(f"seawall/ models answer one user message after a system prompt; found {roles}.")
        content = asked[0].content
        parts = [ContentText(text=content)] if isinstance(content, str) else content
        text = "\n".join(part.text for part in parts if isinstance(part, ContentText))
        media = [part for part in parts if not isinstance(part, ContentText)]
        if len(media) > 1:
            raise PrerequisiteError(f"seawall/ models take one medium a question; found {len(media)}.")
        if not media:
            return system or None, text, None, None
        modality, reference = read_content(media[0])
        self._view(modality)
        return system or None, text, self._as_file(reference, modality), modality

    def _as_file(self, reference: str, modality: str) -> Path:
        """Return a medium as a file: Inspect hands over what a log can hold, a data URI."""
        if not reference.startswith("data:"):
            return Path(reference)
        head, _, data = reference.partition(",")
        kind = head.removeprefix("data:").partition(";")[0]
        ending = (mimetypes.guess_extension(kind, strict=False) or "") if "/" in kind else ""
        path = Path(self.media.name) / (hashlib.sha256(data.encode()).hexdigest()[:24] + ending)
        if not path.exists():
            try:
                path.write_bytes(base64.b64decode(data, validate=True))
            except ValueError as error:
                raise DataError(f"A prompt's {modality} is no base64 ({error}). Give a file or a data URI.") from error
        return path

    def _output(self, request: Request) -> tuple[ModelOutput, ModelCall]:
        """Return what Inspect logs: the answer, its tokens, and how it was decoded."""
        made = request.outcome
        if not isinstance(made, Completion):
            raise made or RuntimeError("A batch ended without an answer.")
        defaults = self.loaded.model.generation_config.to_diff_dict()
        decoding = {"max_new_tokens": request.limit, **request.decoding, "defaults": defaults}
        message = ChatMessageAssistant(content=made.text, model=self.model_name, source="generate")
        choice = ChatCompletionChoice(message=message, stop_reason="stop" if made.finished else "max_tokens")
        total = made.prompt_tokens + made.tokens
        output = ModelOutput(
            model=self.model_name,
            choices=[choice],
            usage=ModelUsage(input_tokens=made.prompt_tokens, output_tokens=made.tokens, total_tokens=total),
            time=request.seconds,
            metadata={"decoding": decoding, "fingerprint": self.loaded.fingerprint},
        )
        asked = {"system": request.turn.system, "question": request.turn.question, "decoding": decoding}
        return output, ModelCall.create(asked, {"answer": made.text, "finished": made.finished})


def decode_settings(config: GenerateConfig) -> dict[str, Any]:
    """Return what transformers' `generate` is told: greedy unless a temperature above 0 is asked for.

    Raises:
        PrerequisiteError: A setting that would silently be ignored.
    """
    ignored = [
        name
        for name in ("stop_seqs", "num_choices", "logprobs", "frequency_penalty", "presence_penalty", "logit_bias")
        if getattr(config, name)
    ]
    if ignored:
        raise PrerequisiteError(f"seawall/ models do not heed {', '.join(ignored)}; they heed {HEEDED}.")
    if not config.temperature:
        return {"do_sample": False}
    settings = {"do_sample": True, "temperature": config.temperature, "top_p": config.top_p, "top_k": config.top_k}
    return {name: value for name, value in settings.items() if value is not None}


def read_content(part: Content) -> tuple[str, str]:
    """Return modality and reference of a medium. A registered modality comes as `ContentData` with `modality` and `path`."""
    if isinstance(part, ContentData) and {"modality", "path"} <= set(part.data):
        return str(part.data["modality"]), str(part.data["path"])
    if part.type in ("image", "audio", "video"):
        return part.type, getattr(part, part.type)
    raise PrerequisiteError(f"seawall/ models take text, image, video and audio; found {part.type}.")
