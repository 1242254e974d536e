"""A dashboard: rows of panels under variables, with the links that all dashboards share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLink,
    DashboardLinkType,
    Panel,
    VariableModel,
)

TAG: Final = "looopy-otel"


class _Numbered(Builder[Panel]):
    """A panel with its number, which Grafana wants to be unique in a dashboard and not 0."""

    def __init__(self, panel: Panel, number: int) -> None:
        self._panel, self._number = panel, number

    def build(self) -> Panel:
        self._panel.id_val = self._number
        return self._panel


def board(
    uid: str,
    title: str,
    about: str,
    variables: Sequence[Builder[VariableModel]],
    rows: Mapping[str, Sequence[Panel]],
    *,
    since: str = "now-24h",
) -> Dashboard:
    """Puts a dashboard together.

    Args:
        uid: Its lasting id, part of its address.
        title: Its title.
        about: What it answers.
        variables: The variables at the top.
        rows: The panels, left to right, under the title of their row.
        since: Where the time range begins when it is opened.
    """
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags([TAG])
        .time(since, "now")
        .timezone("browser")
        .refresh("1m")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .editable()
        .variables(list(variables))
        .links(_links())
    )
    number = 0
    for name, panels in rows.items():
        number += 1
        made.with_row(dashboard.Row(name).id(number))
        for panel in panels:
            number += 1
            made.with_panel(_Numbered(panel, number))
    built = made.build()
    assert built.templating is not None
    for variable in built.templating.list_val or []:
        # They are of variables that are intervals; the schema knows them on no other.
        variable.auto = variable.auto_min = variable.auto_count = None
    return built


def _links() -> list[Builder[DashboardLink]]:
    others = dashboard.DashboardLink("looopy-otel").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    langfuse = dashboard.DashboardLink("Langfuse").type(DashboardLinkType.LINK).url("${langfuse}/traces")
    return [
        others.as_dropdown(False).include_vars(True).keep_time(True),
        langfuse.icon("external link").tooltip("The traces behind the numbers").target_blank(True),
    ]
