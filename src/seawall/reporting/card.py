"""Adds the scores of an evaluation to the model card of its adapter."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from seawall.errors import ArtifactError

log = logging.getLogger(__name__)


def add_to_card(results: dict[str, Any]) -> None:
    """Add the main scores of an evaluation to the model card of its adapter. Do nothing if no adapter was evaluated,
    or if it was steered: the card is about the adapter alone.

    Args:
        results: Content of `results.json` of `evaluate`.
    """
    if not results["adapter"] or results.get("steering"):
        return
    from seawall.alignment.card import add_results
    from seawall.evaluation.statistics.summary import list_shares

    try:
        add_results(Path(results["adapter"]), results["benchmark"], list_shares(results))
    except (ArtifactError, OSError) as error:  # such as a folder that can only be read; the scores are elsewhere, too
        log.warning("the scores are not added to the model card of the adapter: %s", error)
