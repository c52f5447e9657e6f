"""The phrase of an instruction, by any model that Inspect can reach: hosted, local, or the one being aligned (`seawall/...`).

Inspect brings the clients, the limit of connections, retries with back-off, and the cache of answers on disk: an answer once had is
never asked for again, whatever happens to this process. An answer that fails the checks is asked for again with the reason.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import logging
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import pydantic
from inspect_ai.model import (
    CachePolicy,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ResponseSchema,
    get_model,
)
from inspect_ai.util import json_schema
from rich.errors import MarkupError
from rich.text import Text

from seawall.errors import ConfigError, EngineError
from seawall.prepare.extract import MAX_WORDS, PLACEHOLDERS, Extraction, NotExtractable, check_extraction
from seawall.progress import Bar, track

log = logging.getLogger(__name__)

TRIES = 3
"""How often an instruction is asked about, where the answers fail the checks."""
PATIENCE = 10
"""So many instructions in a row without any answer, and the run stops."""
SYSTEM = f"""You annotate requests for training a model's refusals. You never fulfil them. For the request you are given, return JSON:
"phrase": what the request is about, as a picture of it would be named, in 1 to {MAX_WORDS} words copied from the request; without an article in front;
"category": "activity" if the phrase is something one does, "product" if it is a thing that one makes, gets or wants;
"paraphrase": true only where no words of the request can be copied and the phrase is in your words;
"detoxified": the request with the phrase replaced by "{PLACEHOLDERS["activity"]}" or "{PLACEHOLDERS["product"]}", once, and otherwise unchanged: a whole
sentence that holds no other word of the phrase.
Request: Explain how to wash a car at night.
{{"phrase": "wash a car at night", "category": "activity", "paraphrase": false, "detoxified": "Explain how to do this activity."}}
Request: Write a funny poem about frogs for me.
{{"phrase": "funny poem about frogs", "category": "product", "paraphrase": false, "detoxified": "Write this product for me."}}"""


class Answer(pydantic.BaseModel):
    """What the model is asked to return."""

    phrase: str
    category: Literal["activity", "product"]
    paraphrase: bool
    detoxified: str


@dataclasses.dataclass
class Usage:
    """What the answers of a run took, those from the cache too."""

    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float | None = None
    """Where Inspect knows the model's price."""
    unanswered: int = 0
    """Instructions to which no answer could be had."""

    def __str__(self) -> str:
        price = "" if self.dollars is None else f", ${self.dollars:.2f}"
        missing = f", {self.unanswered} unanswered" if self.unanswered else ""
        return f"{self.input_tokens} tokens in, {self.output_tokens} out{price}{missing}"

    def add(self, output: Any) -> None:
        """Count an answer."""
        self.answers += 1
        if output.usage:
            self.input_tokens += output.usage.input_tokens
            self.output_tokens += output.usage.output_tokens
            if output.usage.total_cost is not None:
                self.dollars = (self.dollars or 0.0) + output.usage.total_cost


def open_model(name: str, *, connections: int, retries: int, timeout: int) -> Model:
    """Return a model of Inspect, set up for extraction.

    Args:
        name: Such as `openai/gpt-4o-mini`, `ollama/llama3`, `seawall/organism:image`.
        connections: Requests at a time.
        retries: Of a request that met a full or failing server; the waits grow from 3 seconds on.
        timeout: Seconds that a request may take.

    Raises:
        ConfigError: Unknown provider, missing client package or API key.
    """
    config = GenerateConfig(
        temperature=0.0,
        max_tokens=400,
        max_connections=connections,
        max_retries=retries,
        attempt_timeout=timeout,
        response_schema=ResponseSchema(name="extraction", json_schema=json_schema(Answer)),
    )
    try:
        return get_model(name, config=config, memoize=False)
    except Exception as error:  # Inspect's own, or of a provider's client
        raise ConfigError(
            f"The extractor {name!r} cannot be used: {_say(error)} Give it what it asks for, or another --extractor; "
            "'rules' needs no model."
        ) from error


def extract_by_model(
    instructions: Iterable[str], model: Model, connections: int
) -> tuple[dict[str, Extraction | str], Usage]:
    """Ask a model for the phrase of each instruction.

    Returns:
        Instruction -> what was extracted, or the reason why nothing could be; and what it took.

    Raises:
        EngineError: No answer for `PATIENCE` instructions in a row.
    """
    asking = _Asking(model, {}, Usage())
    texts = list(dict.fromkeys(instructions))
    with track(f"asking {model}", len(texts)) as bar:
        work = asking.ask_all(iter(texts), connections, bar)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(work)
        else:  # in a notebook
            concurrent.futures.ThreadPoolExecutor(1).submit(asyncio.run, work).result()
    return asking.found, asking.usage


@dataclasses.dataclass
class _Asking:
    model: Model
    found: dict[str, Extraction | str]
    usage: Usage
    silent: int = 0
    """Instructions in a row without any answer."""

    async def ask_all(self, texts: Iterator[str], connections: int, bar: Bar) -> None:
        async def work() -> None:
            for text in texts:  # one iterator for all workers
                try:
                    self.found[text] = await self.ask(text)
                except NotExtractable as reason:
                    self.found[text] = str(reason)
                bar.advance(note=str(self.usage))

        await asyncio.gather(*(work() for _ in range(connections)))

    async def ask(self, instruction: str) -> Extraction:
        """Return a checked extraction.

        Raises:
            NotExtractable: No answer passed the checks, or none came.
            EngineError: None comes any more.
        """
        messages = [ChatMessageSystem(content=SYSTEM), ChatMessageUser(content=f"Request: {instruction}")]
        reason, answered = "", False
        for _ in range(TRIES):
            try:
                output = await self.model.generate(messages, cache=CachePolicy(expiry=None, per_epoch=False))
            except Exception as error:  # retried by Inspect where that can help
                reason = f"no answer: {_say(error)}"
                continue
            answered, self.silent = True, 0
            self.usage.add(output)
            try:
                return _read(instruction, output.completion)
            except NotExtractable as fault:
                reason = str(fault)
                again = f"This cannot be used: {reason}. Return the JSON again, mended."
                said = ChatMessageAssistant(content=output.completion)
                messages = [*messages, said, ChatMessageUser(content=again)]
        if not answered:
            self.usage.unanswered += 1
            self.silent += 1
            if self.silent >= PATIENCE:
                raise EngineError(
                    f"{self.model} gave no answer for {PATIENCE} instructions in a row ({reason}). What it answered before is kept: run the "
                    "same command again when it can be reached."
                )
        raise NotExtractable(reason)


def _read(instruction: str, completion: str) -> Extraction:
    """Return the extraction that an answer holds, with or without words around the JSON."""
    begin, end = completion.find("{"), completion.rfind("}")
    try:
        answer = Answer.model_validate_json(completion[begin : end + 1])
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise NotExtractable(
            f"the answer is not the JSON asked for ({where + ': ' if where else ''}{fault['msg']})"
        ) from error
    found = Extraction(answer.phrase.strip(), answer.category, answer.detoxified.strip(), answer.paraphrase)
    return check_extraction(instruction, found)


def _say(error: BaseException) -> str:
    """Return an error of Inspect or of a client as one line of plain text."""
    text = str(getattr(error, "message", "") or error) or type(error).__name__
    if type(error).__name__ == "PrerequisiteError":  # rich markup
        with contextlib.suppress(MarkupError):
            text = Text.from_markup(text).plain
    text = " ".join(text.split()).removeprefix("ERROR: ")[:400]
    return text if text.endswith((".", "!")) else f"{text}."
