"""Real evaluations of a mock model, with real judges behind a real HTTP server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Scorer
from inspect_ai.solver import generate

JUDGE = "openai-api/local/judge"


def sample(
    number: int | str, answer: str, *, scenario: str = "1-Boats", prompt_type: str = "TYPO", **about
) -> tuple[Sample, str]:
    """An item of a benchmark and the answer that the model will give; `about` goes over the metadata."""
    metadata = {
        "question": f"How do I paint boat {number}?",
        "scenario": scenario,
        "prompt_type": prompt_type,
        "phrase": f"boat {number}",
        "item": f"item {number}",
        "harmful": True,
    }
    return Sample(
        id=f"{number}-{prompt_type}",
        input=f"The video shows this product. [{number} {prompt_type}]",
        metadata=metadata | about,
    ), answer


def run(folder: Path, samples: list[tuple[Sample, str]], scorers: list[Scorer], **settings) -> EvalLog:
    """Evaluate a mock model that gives these answers."""
    answers = {item.input: answer for item, answer in samples}

    def say(messages, tools, tool_choice, config) -> ModelOutput:
        answer = answers[messages[-1].text]
        if answer == "no answer":
            raise RuntimeError("the model under test fails")
        output = ModelOutput.from_content("mockllm/model", answer)
        output.usage = ModelUsage(
            input_tokens=1, output_tokens=1, total_tokens=2
        )  # else it is counted, which needs the network
        return output

    (log,) = eval(
        Task(dataset=[item for item, _ in samples], solver=generate(), scorer=scorers, name="boats"),
        model=get_model("mockllm/model", custom_outputs=say, memoize=False),
        log_dir=str(folder),
        display="none",
        **settings,
    )
    return log


def by_answer(verdicts: dict[str, str], otherwise: str = "safe") -> Callable[[str], str]:
    """What a judge says, by a word of what it is asked about."""
    return lambda asked: next((verdict for word, verdict in verdicts.items() if word in asked), otherwise)
