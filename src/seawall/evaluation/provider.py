"""The Inspect provider `seawall/`: any supported model, with or without an adapter, on real media.

Inspect asks one question at a time, from many coroutines; here those that wait are answered in one batch. A prompt is
an optional system prompt and one question with at most one medium, formatted as in training.
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
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelCall,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from transformers import set_seed

from seawall import compat
from seawall.errors import DataError, SeawallError
from seawall.evaluation.config import EvaluateConfig
from seawall.evaluation.prompting import read_content, read_decoding
from seawall.evaluation.replies import make_parts
from seawall.models.chat import Chat, Example
from seawall.models.generate import Completion, generate_batch
from seawall.models.load import LoadedModel, find_family_of, load_model, move_to_device
from seawall.models.memory import halve_on_out_of_memory

PrerequisiteError = compat.prerequisite_error()

GATHER_SECONDS = 0.03
"""A batch that is not full starts if no further question arrived for this long."""


@dataclasses.dataclass(eq=False)
class Request:
    """A question that waits for its answer."""

    example: Example
    """The question, with its medium and system prompt."""
    modality: str
    """Modality of the medium, or the model's own."""
    max_tokens: int
    """Maximum tokens of the answer."""
    decoding: Mapping[str, Any]
    """Settings for transformers' `generate`."""
    outcome: Completion | Exception | None = None
    """The answer or the error. None while it waits."""
    seconds: float = 0.0
    """Wall time of its batch."""

    def fits(self, other: Request) -> bool:
        """Return whether two requests can share a batch."""
        return (self.modality, self.max_tokens, self.decoding) == (other.modality, other.max_tokens, other.decoding)


class SeawallAPI(ModelAPI):
    """A local multimodal model behind Inspect.

    Args:
        model_name: Registered name, folder in Hugging Face format, or hub id.
        base_url, api_key: Not used.
        config: Inspect's settings. `max_connections` is the batch size.
        adapter: Folder of a PEFT adapter made by `seawall align`.
        steering: File of a steering vector made by `seawall steer`.
        batch_size: Maximum questions in one forward pass if `max_connections` is not set.
        long_sounds: `cut` uses the beginning of sounds that are longer than the model takes, `refuse` fails their samples.
        precision, device_map: As for `load_model`.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),
        adapter: str | None = None,
        steering: str | None = None,
        batch_size: int = 32,
        long_sounds: str = "refuse",
        precision: Any = None,
        device_map: str | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self.batch_size = batch_size
        if config.seed is not None:
            set_seed(config.seed)
        try:
            folder, vector = (Path(path) if path else None for path in (adapter, steering))
            self.loaded = load_model(model_name, folder, steering=vector, precision=precision, device_map=device_map)
            self.loaded.chat.cut_long(long_sounds == "cut")
            move_to_device(self.loaded.model)
        except SeawallError as error:
            raise PrerequisiteError(str(error)) from error
        self._by_modality = {self.loaded.family.modality: self.loaded}
        self._waiting: list[Request] = []
        self._lock = anyio.Lock()
        self._media = tempfile.TemporaryDirectory(prefix="seawall-media-")

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> tuple[ModelOutput, ModelCall]:
        """Return the answer to a prompt. The coroutine that has the lock answers the requests of all that wait."""
        if tools:
            raise PrerequisiteError("seawall/ models have no tools. Use a task without tools.")
        request = self._make_request(input, config)
        self._waiting.append(request)
        size = config.max_connections or self.batch_size
        try:
            async with self._lock:
                while request.outcome is None:
                    await self._gather(size)
                    batch = [request, *(r for r in self._waiting if r is not request and r.fits(request))][:size]
                    await anyio.to_thread.run_sync(self._answer, batch)
                    self._waiting = [r for r in self._waiting if r.outcome is None]
        finally:
            if request in self._waiting:  # cancelled
                self._waiting.remove(request)
        return self._make_output(request)

    def max_connections(self) -> int:
        """Return the batch size."""
        return self.batch_size

    def max_tokens(self) -> int | None:
        """Return the maximum tokens of an answer if neither task nor user sets it."""
        return EvaluateConfig.max_tokens

    def connection_key(self) -> str:
        """Return the fingerprint, so that each model has its own batches."""
        return self.loaded.fingerprint

    def close(self) -> None:
        """Remove the media files that this session wrote."""
        self._media.cleanup()

    async def _gather(self, size: int) -> None:
        """Wait until a batch is full, or no request has arrived for `GATHER_SECONDS`."""
        before = 0
        while before < len(self._waiting) < size:
            before = len(self._waiting)
            await anyio.sleep(GATHER_SECONDS)

    def _answer(self, batch: Sequence[Request]) -> None:
        """Set the outcome of every request of a batch. Runs in a thread, one batch at a time."""
        started = time.perf_counter()
        loaded = self._get_view(batch[0].modality)
        valid = []
        for request in batch:
            try:
                loaded.chat.encode(request.example)
                valid.append(request)
            except Exception as error:  # whatever a medium raises, it fails its own request only
                request.outcome = error
        for rows in [valid, *([request] for request in valid)]:  # if the batch fails, each request is tried alone
            try:
                _generate_all(loaded, [row for row in rows if row.outcome is None])
            except Exception as error:
                if len(rows) == 1:
                    rows[0].outcome = error
        loaded.chat.forget()  # media are large and rarely asked about twice
        for request in batch:
            request.seconds = time.perf_counter() - started

    def _get_view(self, modality: str) -> LoadedModel:
        """Return the model with the family of a modality, for models that take several."""
        if modality not in self._by_modality:
            try:
                family = find_family_of(self.loaded.model.config, modality)
            except SeawallError as error:
                raise PrerequisiteError(str(error)) from error
            chat = Chat(self.loaded.processor, family, context_length=self.loaded.chat.context_length)
            chat.cut_long(self.loaded.chat.cuts_long)
            self._by_modality[modality] = dataclasses.replace(self.loaded, family=family, chat=chat)
        return self._by_modality[modality]

    def _make_request(self, messages: Sequence[ChatMessage], config: GenerateConfig) -> Request:
        """Return a prompt of Inspect as a request."""
        system = "\n\n".join(message.text for message in messages if message.role == "system")
        asked = [message for message in messages if message.role != "system"]
        if [message.role for message in asked] != ["user"]:
            roles = ", ".join(message.role for message in asked) or "none"
            raise PrerequisiteError(f"seawall/ models answer one user message after a system prompt. Found: {roles}.")
        content = asked[0].content
        parts = [ContentText(text=content)] if isinstance(content, str) else content
        question = "\n".join(part.text for part in parts if isinstance(part, ContentText))
        media = [part for part in parts if not isinstance(part, ContentText)]
        if len(media) > 1:
            raise PrerequisiteError(f"seawall/ models take one medium per question. Found: {len(media)}.")
        modality, medium = self.loaded.family.modality, None
        if media:
            modality, reference = read_content(media[0])
            self._get_view(modality)
            medium = self._as_file(reference, modality)
        example = Example(question=question, medium=medium, system=system or None)
        return Request(example, modality, config.max_tokens or EvaluateConfig.max_tokens, read_decoding(config))

    def _as_file(self, reference: str, modality: str) -> Path:
        """Return a medium as a file. Inspect passes most media as data URIs."""
        if not reference.startswith("data:"):
            return Path(reference)
        head, _, data = reference.partition(",")
        kind = head.removeprefix("data:").partition(";")[0]
        ending = (mimetypes.guess_extension(kind, strict=False) or "") if "/" in kind else ""
        path = Path(self._media.name) / (hashlib.sha256(data.encode()).hexdigest()[:24] + ending)
        if not path.exists():
            try:
                path.write_bytes(base64.b64decode(data, validate=True))
            except ValueError as error:
                raise DataError(
                    f"The {modality} of a prompt is not base64 ({error}). Give a file or a data URI."
                ) from error
        return path

    def _make_output(self, request: Request) -> tuple[ModelOutput, ModelCall]:
        """Return what Inspect logs: the answer, its tokens, and how it was decoded."""
        made = request.outcome
        if not isinstance(made, Completion):
            raise made or RuntimeError("A batch ended without an answer.")
        defaults = self.loaded.model.generation_config.to_diff_dict()
        decoding = {"max_new_tokens": request.max_tokens, **request.decoding, "defaults": defaults}
        message = ChatMessageAssistant(content=make_parts(made), model=self.model_name, source="generate")
        choice = ChatCompletionChoice(message=message, stop_reason="stop" if made.finished else "max_tokens")
        total = made.prompt_tokens + made.tokens
        output = ModelOutput(
            model=self.model_name,
            choices=[choice],
            usage=ModelUsage(input_tokens=made.prompt_tokens, output_tokens=made.tokens, total_tokens=total),
            time=request.seconds,
            metadata={"decoding": decoding, "fingerprint": self.loaded.fingerprint},
        )
        asked = {"system": request.example.system, "question": request.example.question, "decoding": decoding}
        return output, ModelCall.create(asked, {"answer": made.text, "finished": made.finished})


def _generate_all(loaded: LoadedModel, requests: Sequence[Request]) -> None:
    """Set the answers of requests with the same settings. The batch is halved when memory runs out."""
    done = 0

    def generate_rest(size: int) -> None:
        nonlocal done
        while done < len(requests):
            rows = requests[done : done + size]
            completions = generate_batch(
                loaded,
                [row.example for row in rows],
                max_new_tokens=rows[0].max_tokens,
                decoding=rows[0].decoding,
            )
            for row, completion in zip(rows, completions, strict=True):
                row.outcome = completion
            done += len(rows)

    if requests:
        halve_on_out_of_memory(generate_rest, len(requests))
