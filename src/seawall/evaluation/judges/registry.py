"""The registry of judges. `register_judge` adds one; `--judge` and Inspect then know its name."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from seawall.errors import ConfigError
from seawall.registry import Registry

if TYPE_CHECKING:
    from inspect_ai.scorer import Scorer

    from seawall.store.items import Item

SCORERS = "seawall.evaluation.judges.scorers"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judge:
    """A judge and how its scorer is made."""

    name: str
    """Name for `--judge`, and of the Inspect scorer `seawall/NAME`."""
    make: Callable[..., Scorer] | str
    """Function that returns the scorer, or its place as "module:function", which is imported when the judge is first
    used. With the place, registering the judge does not import Inspect. Takes the name of the judge's model if
    `needs_model`."""
    needs_model: bool = True
    """Whether the user names a model, as in `strongreject=openai/gpt-4o-mini`."""
    by_rubric: bool = False
    """Whether it judges the items that have a rubric, and only these."""
    description: str = ""
    """What the judge sees and decides, in one sentence, for help texts."""

    @property
    def usage(self) -> str:
        """What the user writes: NAME, or NAME=MODEL."""
        return f"{self.name}=MODEL" if self.needs_model else self.name

    def load(self) -> Callable[..., Scorer]:
        """Return the function that makes the scorer."""
        if not isinstance(self.make, str):
            return self.make
        module, _, function = self.make.partition(":")
        found: Callable[..., Scorer] = getattr(importlib.import_module(module), function)
        return found


JUDGES: Registry[Judge] = Registry(
    "judge", ConfigError, "Add it with seawall.register_judge(...): see CONTRIBUTING.md."
)


def register_judge(judge: Judge) -> None:
    """Add a judge, or replace the one of the same name, in this process."""
    JUDGES.register(judge.name, judge)


def make_scorers(names: Sequence[str]) -> list[Scorer]:
    """Return the scorers of judges.

    Args:
        names: Judges as the command line names them: `refusal`, `strongreject=openai/gpt-4o-mini`.

    Raises:
        ConfigError: All faults at once: unknown judges, missing or unusable models, prompts that are not available.
    """
    scorers, faults = [], []
    for given in names:
        try:
            scorers.append(_make_scorer(given))
        except ConfigError as error:
            faults.append(str(error))
    if len(set(names)) < len(names):
        faults.append("A judge is named twice. Name each one once.")
    if faults:
        raise ConfigError("\n".join(faults))
    return scorers


def check_judges(names: Sequence[str], items: Sequence[Item]) -> None:
    """Check that every item has a judge for it, and that no judge has nothing to judge.

    Args:
        names: Judges as the command line names them.
        items: What is asked.

    Raises:
        ConfigError: Items have a rubric and no judge takes rubrics, or the other way round, or likewise without rubric.
    """
    rubrics = sorted({item.rubric for item in items if item.rubric})
    by_rubric = [name for name in names if (found := name.partition("=")[0]) in JUDGES and JUDGES.find(found).by_rubric]
    if rubrics and not by_rubric:
        count = sum(item.rubric is not None for item in items)
        raise ConfigError(
            f"{count} items are not judged for harm, but by the rubrics {', '.join(rubrics)}, and no judge for these is "
            "given. Add --judge rubric=MODEL, or leave out --all-scenarios and these scenarios."
        )
    if by_rubric and not rubrics:
        raise ConfigError(
            f"The judge {by_rubric[0]} scores only items that have a rubric, and none is asked. Leave it out, or add "
            "--all-scenarios if the benchmark has such items."
        )
    if len(by_rubric) == len(names) and any(item.rubric is None for item in items):
        raise ConfigError(
            f"{', '.join(names)} scores only the items that have a rubric, and others are asked too. Add a judge, such as "
            "--judge refusal, or choose --scenarios."
        )


def _make_scorer(given: str) -> Scorer:
    """Return the scorer of one judge."""
    name, _, model = given.partition("=")
    if name not in JUDGES:
        known = ", ".join(JUDGES.find(other).usage for other in JUDGES.names())
        raise ConfigError(f"There is no judge {name!r}. Known: {known}.")
    judge = JUDGES.find(name)
    if model and not judge.needs_model:
        raise ConfigError(f"{given}: the judge {name!r} has no model. Give its name alone.")
    if judge.needs_model and not model:
        raise ConfigError(
            f"The judge {name!r} needs a model with the name that Inspect gives it, such as {name}=openai/gpt-4o-mini."
        )
    return judge.load()(model) if model else judge.load()()


for _judge in (
    Judge(
        name="refusal",
        make=f"{SCORERS}:refusal",
        needs_model=False,
        description="Every answer that does not begin like a refusal is unsafe. Needs no model.",
    ),
    Judge(
        name="reference",
        make=f"{SCORERS}:reference",
        description="VA-SafetyBench's prompt, which sees the answer alone.",
    ),
    Judge(
        name="strongreject",
        make=f"{SCORERS}:strongreject",
        description="StrongREJECT's rubric: refused, convincing, specific.",
    ),
    Judge(name="harmbench", make=f"{SCORERS}:harmbench", description="HarmBench's prompt for its classifier."),
    Judge(
        name="rubric",
        make=f"{SCORERS}:rubric",
        by_rubric=True,
        description="MM-SafetyBench's scenarios 08 and 10 to 13: campaigning, advice, government decisions.",
    ),
    Judge(name="llama-guard-3", make=f"{SCORERS}:llama_guard_3", description="Llama Guard 3 with its chat template."),
    Judge(name="llama-guard-4", make=f"{SCORERS}:llama_guard_4", description="Llama Guard 4 with its chat template."),
):
    register_judge(_judge)
