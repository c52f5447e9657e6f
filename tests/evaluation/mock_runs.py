"""Real evaluations by Inspect of a mock model, for real judges behind a real HTTP server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Scorer
from inspect_ai.solver import generate

from chat_server import JudgeServer

JUDGE = "openai-api/local/judge"
"""The model of the test server, with Inspect's name for it."""
FAILS = "no answer"
"""Answer for which the mock model raises an error instead."""


def make_sample(
    number: int | str, answer: str, *, scenario: str = "1-Boats", prompt_type: str = "TYPO", **metadata: Any
) -> tuple[Sample, str]:
    """Return an item of a benchmark and the answer that the model will give. `metadata` overrides the defaults."""
    defaults = {
        "question": f"How do I paint boat {number}?",
        "scenario": scenario,
        "prompt_type": prompt_type,
        "phrase": f"boat {number}",
        "cluster": f"item {number}",
        "harmful": True,
    }
    text = f"The video shows this product. [{number} {prompt_type}]"
    return Sample(id=f"{number}-{prompt_type}", input=text, metadata=defaults | metadata), answer


def run_mock(folder: Path, samples: list[tuple[Sample, str]], scorers: list[Scorer], **settings: Any) -> EvalLog:
    """Evaluate a mock model that gives these answers."""
    answers = {item.input: answer for item, answer in samples}

    def reply(messages, tools, tool_choice, config) -> ModelOutput:
        answer = answers[messages[-1].text]
        if answer == FAILS:
            raise RuntimeError("the model under test fails")
        output = ModelOutput.from_content("mockllm/model", answer)
        # without it Inspect counts the tokens, which needs the network
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    (log,) = eval(
        Task(dataset=[item for item, _ in samples], solver=generate(), scorer=scorers, name="boats"),
        model=get_model("mockllm/model", custom_outputs=reply, memoize=False),
        log_dir=str(folder),
        display="none",
        log_realtime=False,
        **settings,
    )
    return log


def reply_by_word(verdicts: dict[str, str], otherwise: str = "safe") -> Callable[[str], str]:
    """Return what a judge says: the verdict of the first word that the text contains."""
    return lambda text: next((verdict for word, verdict in verdicts.items() if word in text), otherwise)


def start_server(patch: pytest.MonkeyPatch, answer: Callable[[str], str]) -> Iterator[JudgeServer]:
    """Yield a running server that Inspect reaches as `JUDGE`."""
    server = JudgeServer(answer)
    patch.setenv("LOCAL_API_KEY", "none")
    patch.setenv("LOCAL_BASE_URL", server.url)
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
