"""Expressions of PromQL, as text: series with the dashboards' filters, and what a counter grew by.

Names are written as Prometheus spells them, the same from a collector and from a process that is scraped directly:
dots are underscores, the unit and ``_total`` are appended.
"""

from __future__ import annotations

from typing import Final

SERVICE: Final = 'job=~"$service"'
OF_RUNS: Final = f'{SERVICE},deployment_environment_name=~"$environment",gen_ai_agent_name=~"$agent"'
OF_CALLS: Final = f'{OF_RUNS},gen_ai_request_model=~"$model"'

LONGEST_GAP: Final = "1h"
"""How long a series may be out of sight (a collector that restarts) and still be the same when it is back."""


def series(name: str, filters: str, *more: str) -> str:
    """The series of a metric that the dashboard's variables choose.

    Args:
        name: As Prometheus spells it.
        filters: `SERVICE`, `OF_RUNS` or `OF_CALLS`.
        more: Further matchers.
    """
    return f"{name}{{{','.join([filters, *more])}}}"


def added(counter: str, window: str) -> str:
    """By how much each series of a counter grew within a window, exactly, from its very first value on.

    ``increase()`` alone leaves out the value that a series is born with, so a process that lives for a second, or the
    first call of a model, would count for nothing; and it extrapolates, so cents come out wrong. Here a series is
    compared with its last value before the window, or with zero where it had none. Each process has series of its own,
    so none starts over. Only where a counter does (a collector's own, when that is restarted) is the growth estimated
    by ``increase()``.

    Args:
        counter: A counter, or the ``_bucket``, ``_sum`` or ``_count`` of a histogram.
        window: A duration such as ``1h`` or ``$__range``.
    """
    last = f"last_over_time({counter}[{window}])"
    before = f"last_over_time({counter}[{LONGEST_GAP}] offset {window})"
    return (
        f"(increase({counter}[{window}]) and resets({counter}[{window}]) > 0\n  or {last} - {before} >= 0\n  or {last})"
    )


def total(expression: str, *by: str) -> str:
    """The sum of an expression's series, one for each combination of the labels in `by`."""
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def zero_where(there: str, expression: str) -> str:
    """An expression with 0 in the place of nothing, but only where `there` tells of something.

    So a panel says 0 for "it was measured and there was none", and nothing for "it was not measured".
    """
    return f"{expression}\nor 0 * {there}"


def quantile(share: float, histogram: str, filters: str, window: str, *by: str) -> str:
    """A quantile of a histogram within a window.

    Args:
        share: Such as 0.95.
        histogram: The metric's name without ``_bucket``.
        filters: `SERVICE`, `OF_RUNS` or `OF_CALLS`.
        window: A duration.
        by: Labels to keep.
    """
    grown = total(added(series(f"{histogram}_bucket", filters), window), "le", *by)
    return f"histogram_quantile({share}, {grown})"


def mean(histogram: str, filters: str, window: str, *by: str) -> str:
    """The mean of a histogram's values within a window."""
    sums, counts = (total(added(series(f"{histogram}_{part}", filters), window), *by) for part in ("sum", "count"))
    return f"{sums}\n/ ({counts} > 0)"
