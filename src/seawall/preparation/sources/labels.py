"""Do the answers agree with the labels? Answers to harmful requests should refuse, those to harmless ones should not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

from seawall.errors import DataError
from seawall.reasoning import split_reply
from seawall.refusals import is_refusal
from seawall.store.pair import KINDS, Pair, Record

LEAST_AGREEMENT = 0.5
"""Share of a kind's answers that must agree with the label."""
CHECKED = 2_000
"""Maximum number of answers of each kind that `check_answers` looks at. They tell a share to about 0.02."""
ADVICE = {
    "harmful": "Check --kind and --columns.response. For a list of attacks with their targets, give --preset requests: the "
    "requests then get a refusal. If the answers are safe, but refuse in other words or in another language, give "
    "--allow-label-conflicts.",
    "harmless": "Check --kind, and read some of the answers. To train on them nevertheless, give --allow-label-conflicts.",
}
"""Kind -> what to do about answers that contradict it."""
Line = TypeVar("Line")


def refuses(response: str) -> bool:
    """Return whether a response refuses, by the test of the judge `refusal`: reasoning before the answer is left out."""
    reasons = any(mark in response for mark in ("<", "[", "\u25c1", "thought process"))
    return is_refusal(split_reply(response).answer if reasons else response)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefusalShare:
    """How many answers to the requests of one kind refuse, by the refusal strings of the judges."""

    refusing: int
    """Number of answers that refuse."""
    answers: int
    """Number of answers."""

    @property
    def share(self) -> float | None:
        """Share of refusals. None without answers."""
        return self.refusing / self.answers if self.answers else None


def measure_refusals(lines: Iterable[Pair | Record]) -> dict[str, RefusalShare]:
    """Return kind -> share of the answers that refuse. Lines without an answer do not count."""
    totals, refusing = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    for line in lines:
        if line.kind in totals and line.response:
            totals[line.kind] += 1
            refusing[line.kind] += refuses(line.response)
    return {kind: RefusalShare(refusing=refusing[kind], answers=totals[kind]) for kind in KINDS}


def _thin(lines: Sequence[Line]) -> Sequence[Line]:
    """Return at most `CHECKED` lines, evenly spaced."""
    return lines[:: math.ceil(len(lines) / CHECKED)] if len(lines) > CHECKED else lines


def check_answers(lines: Iterable[Pair | Record], where: str) -> None:
    """Check that most answers agree with the kind of their requests.

    Args:
        lines: Pairs or records. Those without an answer do not count.
        where: Where the answers come from, for the error message.

    Raises:
        DataError: Most answers to harmful requests do not refuse, or most answers to harmless ones do.
    """
    answered = [line for line in lines if line.response]
    some = [line for kind in KINDS for line in _thin([line for line in answered if line.kind == kind])]
    for kind, found in measure_refusals(some).items():
        if found.share is None:
            continue
        agreeing = found.share if kind == "harmful" else 1 - found.share
        if agreeing >= LEAST_AGREEMENT:
            continue
        expected = "most of them should" if kind == "harmful" else "few of them should"
        raise DataError(
            f"{where}: {found.refusing} of {found.answers} answers to {kind} requests refuse; {expected}. Either the kind is "
            f"wrong, or the answers are. {ADVICE[kind]}"
        )
