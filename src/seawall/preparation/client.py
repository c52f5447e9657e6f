"""Client that asks one model many questions: a hosted or local model, or the one being aligned (`seawall/...`).

Inspect brings the connections, the retries with growing waits, and a cache on disk, so that no question is answered
twice even if the process is killed. This module adds concurrency, usage counts, and a stop when the model no longer
answers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import functools
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeVar

from inspect_ai.model import CachePolicy, ChatMessage, GenerateConfig, Model, ModelAPI, ModelOutput, get_model

from seawall.errors import ConfigError, EngineError, describe_error
from seawall.progress import ProgressBar, track

MAX_REQUESTS = 3
"""Maximum requests per question, for errors that Inspect does not retry."""
MAX_UNANSWERED = 10
"""The run stops after this many consecutive questions without an answer."""
T = TypeVar("T")


class NoAnswer(Exception):
    """The model gave no answer to a question. The text is the reason."""


@dataclasses.dataclass
class Usage:
    """What the answers of a run cost. Answers from the cache count too."""

    answers: int = 0
    """Number of answers."""
    input_tokens: int = 0
    """Tokens of the questions."""
    output_tokens: int = 0
    """Tokens of the answers."""
    dollars: float | None = None
    """Cost in US dollars. None if Inspect does not know the price of the model."""
    unanswered: int = 0
    """Number of questions without an answer."""

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


class _Server:
    """Watches whether a model's server was ever reached. Inspect retries for minutes, which cannot help where none runs."""

    def __init__(self, api: ModelAPI) -> None:
        self.missing = False
        url = getattr(api, "base_url", None)
        self.place = f" at {url}" if url else ""
        self._reached = False
        generate, should_retry = api.generate, api.should_retry

        @functools.wraps(generate)
        async def watch(*arguments: Any, **options: Any) -> Any:
            output = await generate(*arguments, **options)
            self._reached = True
            return output

        def decide(error: Exception) -> Any:
            refused = _is_refused(error)
            self._reached = self._reached or not refused
            self.missing = not self._reached
            return False if self.missing else should_retry(error)

        api.generate, api.should_retry = watch, decide  # type: ignore[method-assign, assignment]


def _is_refused(error: BaseException | None) -> bool:
    """Return whether an error is, or was caused by, a connection that nobody accepts or a name that nobody knows."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, ConnectionRefusedError | socket.gaierror) or type(error).__name__ == "ConnectError":
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


class Client:
    """A model and what it was asked so far."""

    def __init__(self, name: str, *, connections: int, retries: int, timeout: int) -> None:
        """Open a model.

        Args:
            name: Inspect's name of the model, such as `openai/gpt-4o-mini`, `ollama/llama3` or `seawall/FOLDER`.
            connections: Concurrent requests.
            retries: Retries after a failed request. The waits grow from 3 seconds on.
            timeout: Time limit for a request, in seconds.

        Raises:
            ConfigError: The provider is unknown, or its client package or API key is missing.
        """
        config = GenerateConfig(
            temperature=0.0, max_connections=connections, max_retries=retries, attempt_timeout=timeout
        )
        try:
            self.model: Model = get_model(name, config=config, memoize=False)
        except Exception as error:  # of Inspect, or of any provider's client
            raise ConfigError(
                f"The model {name!r} cannot be used: {describe_error(error)} Install or set what is missing, or give "
                "another model by Inspect's name; --extractor rules needs no model."
            ) from error
        self.connections = connections
        self.usage = Usage()
        self._unanswered_in_a_row = 0
        self._server = _Server(self.model.api)

    def ask_all(self, texts: Iterable[str], ask: Callable[[str], Awaitable[T]], what: str) -> dict[str, T]:
        """Call `ask` once for each distinct text, with as many concurrent calls as there are connections.

        Args:
            texts: Texts, possibly repeated.
            ask: Returns the result of a text.
            what: What the results are, for the progress bar.

        Returns:
            Text -> result.

        Raises:
            EngineError: `MAX_UNANSWERED` consecutive questions had no answer.
        """
        distinct = list(dict.fromkeys(texts))
        results: dict[str, T] = {}

        async def work(remaining: Iterator[str], bar: ProgressBar) -> None:
            for text in remaining:  # all workers take from one iterator
                results[text] = await ask(text)
                bar.advance(note=str(self.usage))

        async def run_workers(bar: ProgressBar) -> None:
            remaining = iter(distinct)
            await asyncio.gather(*(work(remaining, bar) for _ in range(self.connections)))

        with track(f"{what}, {self.model}", len(distinct)) as bar:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                asyncio.run(run_workers(bar))
            else:  # a notebook has a running loop, so this needs another thread
                concurrent.futures.ThreadPoolExecutor(1).submit(asyncio.run, run_workers(bar)).result()
        return results

    async def generate(self, messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        """Return the model's answer, from the cache if it was given before.

        Raises:
            NoAnswer: The model does not answer this question.
            EngineError: `MAX_UNANSWERED` consecutive questions had no answer, or there is no server.
        """
        for _ in range(MAX_REQUESTS):
            try:
                output = await self.model.generate(
                    messages, config=config, cache=CachePolicy(expiry=None, per_epoch=False)
                )
            except Exception as error:  # Inspect has already retried if that can help
                reason = describe_error(error)
                if self._server.missing:
                    raise EngineError(
                        f"No server answers for {self.model}{self._server.place} ({reason.rstrip('.')}). Start it and rerun "
                        "the same command, or give another model."
                    ) from error
                continue
            self._unanswered_in_a_row = 0
            self.usage.add(output)
            return output
        self.usage.unanswered += 1
        self._unanswered_in_a_row += 1
        if self._unanswered_in_a_row >= MAX_UNANSWERED:
            raise EngineError(
                f"{self.model} did not answer {MAX_UNANSWERED} questions in a row ({reason}). Earlier answers are "
                "kept. Rerun the same command to resume when the model can be reached."
            )
        raise NoAnswer(reason)
