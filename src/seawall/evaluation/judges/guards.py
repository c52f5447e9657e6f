"""Judges whose prompt is their own chat template, such as Llama Guard."""

from __future__ import annotations

import logging

import anyio
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser, ContentText

from seawall.evaluation.judges.asking import JudgeClient, NoVerdictError

log = logging.getLogger(__name__)

PROBE = 100
"""Words of the long answer that a guard is probed with."""


class GuardClient(JudgeClient):
    """Asks a judge whose prompt is its own chat template, on any server.

    Chat templates of Llama Guard silently drop content in a form that they do not expect; then every answer is safe. So
    the model first gets a short and a long answer. If both take the same number of tokens, it does not see them.
    """

    def __init__(self, name: str, model: str, max_tokens: int) -> None:
        """Open the model. Arguments and errors are those of `JudgeClient`."""
        super().__init__(name, model, max_tokens)
        self._lock = anyio.Lock()
        self._sees_answers: bool | None = None

    async def ask(self, messages: list[ChatMessage]) -> str:
        """Return the model's answer.

        Raises:
            NoVerdictError: There is none, or the model does not see the answers that it should judge.
        """
        async with self._lock:
            if self._sees_answers is None:
                self._sees_answers = await self._probe()
        if not self._sees_answers:
            raise NoVerdictError(
                "the chat template drops the answer: serve the judge with vLLM (docs/how_to/judges.md)"
            )
        return await super().ask(messages)

    async def _probe(self) -> bool:
        short, long = [await self._count_tokens("boat " * times) for times in (1, PROBE)]
        sees = short is None or long is None or long - short >= PROBE // 2
        if not sees:
            log.error("judge %s: %s does not see the answers that it should judge", self.name, self.model)
        return sees

    async def _count_tokens(self, answer: str) -> int | None:
        """Return the tokens of a prompt, cached ones included. None if the server does not say."""
        usage = (await self.generate(make_conversation("What is this?", answer.strip()))).usage
        return usage.total_tokens - usage.output_tokens if usage else None


def make_conversation(question: str, answer: str) -> list[ChatMessage]:
    """Return a conversation of two turns as typed lists: chat templates of Llama Guard drop plain strings."""
    return [
        ChatMessageUser(content=[ContentText(text=question)]),
        ChatMessageAssistant(content=[ContentText(text=answer)]),
    ]
