"""Help of the command line: flags in groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts.help import DefaultFormatter

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

GROUPS = {
    "Input": (
        *(
            "adapter",
            "bank",
            "data",
            "embeddings",
            "media",
            "mixture-file",
            "model",
            "name",
            "pairs",
            "questions",
            "recipe",
        ),
        *("run", "runs", "source", "steering", "store", "stores"),
    ),
    "Output": ("folder", "json", "log-media", "merge", "dry-run", "out", "push-to-hub", "report-to"),
    "Data": (
        *(
            "all-scenarios",
            "answers",
            "arms",
            "as-published",
            "benchmark",
            "columns",
            "controls",
            "instruction-words",
            "kind",
            "language",
            "limit",
        ),
        *("mixture", "modality", "part", "phrases", "preset", "refusals", "response-words", "sample", "scenarios"),
        *("allow-label-conflicts", "balance", "encoding", "header", "turns"),
        *("split", "stills", "subset", "tiny", "types", "understanding"),
    ),
    "Method": (),
    "Performance": (
        *("activation-checkpointing", "batch-size", "compile", "connections", "device-map", "engine"),
        *("per-device-batch-size", "precision", "retries", "share-prefix", "timeout", "workers"),
    ),
}
"""Title -> names of the flags, in the order of the help. A flag that no group lists belongs to `Method`."""


class GroupedHelp(DefaultFormatter):
    """Shows the parameters of a command in the panels of `GROUPS`.

    Args:
        exceptions: Flag -> title, for flags that belong to another group in this command.
    """

    def __init__(self, **exceptions: str) -> None:
        super().__init__()
        self._titles = {name: title for title, names in GROUPS.items() for name in names}
        self._titles |= {name.replace("_", "-"): title for name, title in exceptions.items()}

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print a panel of commands, or one panel for each group of parameters."""
        if panel.format == "command":
            super().__call__(console, options, panel)
            return
        for title in GROUPS:
            entries = [entry for entry in panel.entries if self._find_title(entry) == title]
            if entries:
                super().__call__(console, options, panel.copy(title=title, entries=entries))

    def _find_title(self, entry: HelpEntry) -> str:
        names = entry.positive_names or (entry.positional_label or "",)
        return self._titles.get(names[0].removeprefix("--").partition(".")[0].lower(), "Method")
