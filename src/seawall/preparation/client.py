"""Many questions to a model that Inspect can reach: hosted, local, or the one being aligned (`seawall/...`).

Inspect brings the clients, the limit of connections, retries with back-off, and the cache of answers on disk: an answer once had is
never asked for again, whatever happens to this process. Here is what it leaves open: how many are under way, what it all took, and
when to give up.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from inspect_ai.model import CachePolicy, ChatMessage, GenerateConfig, Model, ModelOutput, get_model

from seawall.errors import ConfigError, EngineError, describe_error
from seawall.progress import track

TRIES = 3
"""How often a question is put whose answer is broken in a way that Inspect does not retry."""
PATIENCE = 10
"""So many questions in a row without any answer, and the run stops."""
T = TypeVar("T")


class Unanswered(Exception):
    """No answer could be had; its text is the reason."""


@dataclasses.dataclass
class Usage:
    """What the answers of a run took, those from the cache too."""

    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float | None = None
    """Where Inspect knows the model's price."""
    unanswered: int = 0
    """Questions to which no answer could be had."""

    def __str__(self) -> str:
        price = "" if self.dollars is None else f", ${self.dollars:.2f}"
        missing = f", {self.unanswered} unanswered" if self.unanswered else ""
        return f"{self.input_tokens} tokens in, {self.output_tokens} out{price}{missing}"

    def add(self, output: ModelOutput) -> None:
        """Count an answer."""
        self.answers += 1
        if output.usage:
            self.input_tokens += output.usage.input_tokens
            self.output_tokens += output.usage.output_tokens
            if output.usage.total_cost is not None:
                self.dollars = (self.dollars or 0.0) + output.usage.total_cost


class Client:
    """A model, and what was asked of it so far."""

    def __init__(self, name: str, *, connections: int, retries: int, timeout: int) -> None:
        """Open a model.

        Args:
            name: As Inspect names it, such as `openai/gpt-4o-mini`, `ollama/llama3`, `seawall/organism:image`.
            connections: Requests at a time.
            retries: Of a request that met a full or failing server; the waits grow from 3 seconds on.
            timeout: Seconds that a request may take.

        Raises:
            ConfigError: Unknown provider, missing client package or API key.
        """
        config = GenerateConfig(
            temperature=0.0, max_connections=connections, max_retries=retries, attempt_timeout=timeout
        )
        try:
            self.model: Model = get_model(name, config=config, memoize=False)
        except Exception as error:  # Inspect's own, or of a provider's client
            raise ConfigError(
                f"The model {name!r} cannot be used: {describe_error(error)} Give it what it asks for, or name another one as Inspect does; "
                "--extractor rules needs no model."
            ) from error
        self.connections = connections
        self.usage = Usage()
        self._silent = 0

    def ask_all(self, texts: Iterable[str], ask: Callable[[str], Awaitable[T]], what: str) -> dict[str, T]:
        """Call `ask` for each different text, as many at a time as there are connections; return text -> result.

        Raises:
            EngineError: No answer to `PATIENCE` questions in a row.
        """
        different = list(dict.fromkeys(texts))
        found: dict[str, T] = {}

        async def work(left: Any, bar: Any) -> None:
            for text in left:  # one iterator for all workers
                found[text] = await ask(text)
                bar.advance(note=str(self.usage))

        async def share(bar: Any) -> None:
            left = iter(different)
            await asyncio.gather(*(work(left, bar) for _ in range(self.connections)))

        with track(f"{what}, {self.model}", len(different)) as bar:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                asyncio.run(share(bar))
            else:  # in a notebook
                concurrent.futures.ThreadPoolExecutor(1).submit(asyncio.run, share(bar)).result()
        return found

    async def generate(self, messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        """Return the model's answer, from the cache where it was had before.

        Raises:
            Unanswered: None came.
            EngineError: None comes any more.
        """
        for _ in range(TRIES):
            try:
                output = await self.model.generate(
                    messages, config=config, cache=CachePolicy(expiry=None, per_epoch=False)
                )
            except Exception as error:  # retried by Inspect before, where that can help
                reason = describe_error(error)
                continue
            self._silent = 0
            self.usage.add(output)
            return output
        self.usage.unanswered += 1
        self._silent += 1
        if self._silent >= PATIENCE:
            raise EngineError(
                f"{self.model} gave no answer to {PATIENCE} questions in a row ({reason}). What it answered before is kept: run the "
                "same command again when it can be reached."
            )
        raise Unanswered(reason)
