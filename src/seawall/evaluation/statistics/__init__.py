"""Statistics: from answers with verdicts to shares, intervals and comparisons."""
