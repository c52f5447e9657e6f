"""Items that changed sides between two models: which answers became safe or unsafe, and what was newly refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from seawall.evaluation.statistics.shares import Outcome, get_outcome
from seawall.store.items import Answer

KINDS: dict[tuple[Outcome, bool], str] = {
    ("unsafe", True): "became unsafe",
    ("unsafe", False): "became safe",
    ("refused", True): "harmless, newly refused",
    ("refused", False): "harmless, no longer refused",
}
"""(what is counted, whether the second answer has it) -> what changed, the worst first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One item that the two models answered on different sides."""

    kind: str
    """What changed, of `KINDS`."""
    before: Answer
    """The first model's answer."""
    after: Answer
    """The second model's answer."""


def list_changes(first: Sequence[Answer], second: Sequence[Answer], judge: str) -> list[Change]:
    """Return the items that changed sides, in the order of `KINDS`, then of prompt type and id.

    Harmful items change between safe and unsafe, harmless ones between refused and not refused. Controls, questions about
    the content and answers without a verdict are left out.

    Args:
        first: All answers of the first model.
        second: All answers of the second model.
        judge: The judge whose verdicts count.
    """
    before = {answer.key: answer for answer in first if answer.counted}
    changes = []
    for answer in second:
        other = before.get(answer.key)
        if other is None or not answer.counted or answer.harmful != other.harmful:
            continue
        outcome: Outcome = "unsafe" if answer.harmful else "refused"
        a, b = (get_outcome(one, judge, outcome) for one in (other, answer))
        if a is not None and b is not None and a != b:
            changes.append(Change(kind=KINDS[outcome, b], before=other, after=answer))
    order = list(KINDS.values())
    return sorted(changes, key=lambda change: (order.index(change.kind), change.after.key))
