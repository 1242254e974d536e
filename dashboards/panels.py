"""The kinds of panel that the dashboards are made of: a number, lines, bars, a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    Panel,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

from dashboards.variables import DATA_SOURCE

USD: Final = "currencyUSD"
SECONDS: Final = "s"
SHARE: Final = "percentunit"
COUNT: Final = "short"

SHORTEST_STEP: Final = "1m"
"""Of a series over time: metrics are pushed once a minute unless the application says otherwise."""

MOST_STEPS: Final = 300
"""Of a time range: what a query costs Prometheus is in proportion to it."""

Levels = Mapping[float, str]
"""Colours from a value on; what is below the first is green."""


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel.

    Attributes:
        expr: PromQL.
        name: Names the series; ``{{label}}`` is replaced. In a table, the column.
        exemplars: True to show points that lead to a trace.
        unit: In a table, the unit of the column.
    """

    expr: str
    name: str = ""
    exemplars: bool = False
    unit: str = COUNT


def number(
    title: str, expr: str, unit: str, about: str, *, levels: Levels | None = None, since: str | None = None
) -> Panel:
    """One number over the time range that is looked at.

    Args:
        title: The title.
        expr: PromQL with one series as its result.
        unit: Grafana's name of the unit.
        about: What it means, in words.
        levels: Where the colour changes.
        since: A time range of its own, such as ``now/d`` for today.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(DATA_SOURCE)
        .unit(unit)
        .thresholds(_thresholds(levels or {}))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .with_target(_target(Query(expr), "A").instant())
        .height(4)
        .span(4)
    )
    if since is not None:
        panel.time_from(since)
    return panel.build()


def lines(
    title: str, queries: Sequence[Query], unit: str, about: str, *, levels: Levels | None = None, width: int = 12
) -> Panel:
    """Values over time, one line for each series."""
    panel = _over_time(title, queries, unit, about, width).draw_style(GraphDrawStyle.LINE).line_width(2)
    panel.fill_opacity(8).show_points(VisibilityMode.AUTO).span_nulls(300_000)
    if levels:
        panel.thresholds(_thresholds(levels))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    return panel.build()


def bars(title: str, queries: Sequence[Query], unit: str, about: str, *, width: int = 12) -> Panel:
    """Amounts per step of time, one upon the other: all bars together are the total of the time range."""
    panel = _over_time(title, queries, unit, about, width).draw_style(GraphDrawStyle.BARS).fill_opacity(80)
    panel.line_width(0).stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    return panel.build()


def rows(title: str, columns: Sequence[Query], labels: Mapping[str, str], about: str, *, width: int = 24) -> Panel:
    """A table: one row for each combination of labels, one column for each query.

    Args:
        title: The title.
        columns: The queries; the first one sorts, largest first.
        labels: The labels to show, with the headings of their columns.
        about: What it means, in words.
        width: Of 24 columns of the grid.
    """
    panel = (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(DATA_SOURCE)
        .targets([_target(query, ref).instant().format(PromQueryFormat.TABLE) for ref, query in _named(columns)])
        .with_transformation(DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(DataTransformerConfig(id_val="organize", options=_columns(columns, labels)))
        .sort_by([common.TableSortByFieldState().display_name(columns[0].name).desc(True)])
        .show_header(True)
        .filterable(True)
        .data_links([_traces()])
        .height(8)
        .span(width)
    )
    for query in columns:
        panel.override_by_name(query.name, [DynamicConfigValue(id_val="unit", value=query.unit)])
    return panel.build()


def _over_time(title: str, queries: Sequence[Query], unit: str, about: str, width: int) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    return (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(DATA_SOURCE)
        .unit(unit)
        .min(0)
        .data_links([_traces()])
        .interval(SHORTEST_STEP)
        .max_data_points(MOST_STEPS)
        .legend(legend.show_legend(True).calcs([]))
        .tooltip(tooltip)
        .targets([_target(query, ref).range() for ref, query in _named(queries)])
        .height(8)
        .span(width)
    )


def _target(query: Query, ref: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().datasource(DATA_SOURCE).expr(query.expr).ref_id(ref)
    return target.legend_format(query.name or "__auto").exemplar(query.exemplars).editor_mode(QueryEditorMode.CODE)


def _named(queries: Sequence[Query]) -> list[tuple[str, Query]]:
    """The queries with the letters by which Grafana tells them apart."""
    return list(zip("ABCDEFGHIJ", queries, strict=False))


def _thresholds(levels: Levels) -> dashboard.ThresholdsConfig:
    steps = [
        Threshold(value=None, color="green"),
        *(Threshold(value=at, color=colour) for at, colour in levels.items()),
    ]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _columns(columns: Sequence[Query], labels: Mapping[str, str]) -> dict[str, object]:
    # Grafana gives the column of a lone query no letter.
    letters = {ref: f" #{ref}" if len(columns) > 1 else "" for ref, _ in _named(columns)}
    values = {f"Value{letters[ref]}": query.name for ref, query in _named(columns)}
    order = {name: place for place, name in enumerate([*labels, *values])}
    return {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": {**labels, **values}}


def _traces() -> dashboard.DashboardLink:
    """From any value to the project's traces. A point that is one trace has a link of the data source to just that."""
    return dashboard.DashboardLink("Traces in Langfuse").url("${langfuse}/traces").target_blank(True)
