"""Which embeddings the page shows: a few of each kind and outcome, chosen by their position in the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

from seawall.store.embeddings import Entry
from seawall.store.maintenance import OUTCOMES
from seawall.store.pair import KINDS

T = TypeVar("T")
GROUPS = tuple((kind, outcome) for kind in KINDS for outcome in OUTCOMES)
"""Kinds and outcomes in the order of the page."""


def choose_entries(entries: Iterable[Entry], number: int) -> list[Entry]:
    """Return about equally many entries of each kind and outcome, evenly spaced in each group.

    No record is shown twice in a group. The answers of the model do not influence the choice.

    Args:
        entries: The entries to choose from, in the order of the store.
        number: Maximum number of entries.

    Returns:
        The entries in the order of `GROUPS`.
    """
    groups: dict[tuple[str, str], dict[str, Entry]] = defaultdict(dict)
    for entry in entries:
        groups[entry.kind, entry.outcome].setdefault(entry.record, entry)
    shares = dict.fromkeys(groups, 0)
    left = min(number, sum(map(len, groups.values())))
    while left:
        for group in GROUPS:
            if left and shares.get(group, 0) < len(groups.get(group, ())):
                shares[group] += 1
                left -= 1
    return [entry for group in GROUPS for entry in spread([*groups[group].values()], shares.get(group, 0))]


def spread(items: Sequence[T], number: int) -> list[T]:
    """Return `number` evenly spaced items, or all of them if there are fewer."""
    if number >= len(items):
        return [*items]
    return [items[(2 * index + 1) * len(items) // (2 * number)] for index in range(number)]
