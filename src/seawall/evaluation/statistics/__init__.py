"""Statistics: from logs and verdicts to shares, intervals and comparisons of models."""

from seawall.evaluation.statistics.answers import group_answers, read_answers, read_logs
from seawall.evaluation.statistics.comparison import compare
from seawall.evaluation.statistics.intervals import (
    difference_interval,
    interval,
    kappa,
    kappa_interval,
    macro_interval,
    mcnemar,
    sign_test,
    wilson,
)
from seawall.evaluation.statistics.shares import (
    average_scenarios,
    count_unscored,
    find_understood,
    measure_agreement,
    measure_share,
    measure_understanding,
)
from seawall.evaluation.statistics.summary import list_shares, measure_types, summarize

__all__ = [
    "average_scenarios",
    "compare",
    "count_unscored",
    "difference_interval",
    "find_understood",
    "group_answers",
    "interval",
    "kappa",
    "kappa_interval",
    "list_shares",
    "macro_interval",
    "mcnemar",
    "measure_agreement",
    "measure_share",
    "measure_types",
    "measure_understanding",
    "read_answers",
    "read_logs",
    "sign_test",
    "summarize",
    "wilson",
]
