"""*Telemetry health*: whether the spans behind the other dashboards arrive where they should."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from dashboards import variables
from dashboards.board import board
from dashboards.panels import COUNT, SHARE, Query, bars, lines, number, rows
from dashboards.promql import SERVICE, added, series, total, zero_where

OF_PROCESSES = f'{SERVICE},instance=~"$instance"'

QUEUED = series("looopy_spans_queued", OF_PROCESSES)
EXPORTED = series("looopy_spans_exported_total", OF_PROCESSES)
SPOOLED = series("looopy_spans_spooled", OF_PROCESSES)
DROPPED = series("looopy_spans_dropped_total", OF_PROCESSES)

# The collector's own metrics; it names the exporter to Langfuse.
COLLECTOR_QUEUE = "otelcol_exporter_queue_size"
COLLECTOR_ROOM = "otelcol_exporter_queue_capacity"
COLLECTOR_LOST = "otelcol_exporter_send_failed_spans"

DESTINATION = "looopy_destination"
REASON = "looopy_reason"
STEP, RANGE = "$__interval", "$__range"


def dashboard() -> Dashboard:
    """Builds the dashboard."""
    return board(
        "looopy-health",
        "Telemetry health",
        "Whether traces arrive: spans that were delivered, that wait in memory or on disk, and that were lost.",
        [variables.data_source(), variables.service(), variables.instance(), variables.langfuse()],
        {
            "Now": _numbers(),
            "Over time": _over_time(),
            "Where": _tables(),
            "Collectors, where there are any": _collectors(),
        },
        since="now-6h",
    )


def _lost(window: str, *by: str) -> str:
    return total(added(DROPPED, window), *by)


def _numbers() -> list[Panel]:
    lost = zero_where(total(QUEUED), _lost(RANGE))
    delivered = total(added(EXPORTED, RANGE))
    return [
        number("Processes", f"count(count by (job, instance) ({QUEUED}))", COUNT, "Processes that report right now."),
        number("Delivered", delivered, COUNT, "Spans that a destination acknowledged, each destination for itself."),
        number(
            "Lost",
            lost,
            COUNT,
            "Spans that were lost. Any is too many: the table below says where and why.",
            levels={1: "red"},
        ),
        number(
            "Share delivered",
            f"{delivered}\n/ ({delivered} + ({lost}) > 0)",
            SHARE,
            "Delivered spans, of those that were delivered or lost.",
            levels={0: "red", 0.99: "yellow", 1: "green"},
        ),
        number("Waiting in memory", total(QUEUED), COUNT, "Spans that the workers have not handed on yet."),
        number(
            "Waiting on disk",
            total(SPOOLED),
            COUNT,
            "Spans that a destination has not acknowledged yet. The colours are those of the alert LooopySpansPileUp.",
            levels={1_000: "yellow", 10_000: "red"},
        ),
    ]


def _over_time() -> list[Panel]:
    return [
        bars(
            "Delivered",
            [Query(total(added(EXPORTED, STEP), DESTINATION), "{{looopy_destination}}")],
            COUNT,
            "Spans that were acknowledged, per step of time and destination.",
        ),
        bars(
            "Lost",
            [Query(_lost(STEP, DESTINATION, REASON), "{{looopy_destination}}: {{looopy_reason}}")],
            COUNT,
            "Spans that were lost, per step of time. Without a destination: lost before any had them.",
        ),
        lines(
            "Waiting on disk",
            [Query(total(SPOOLED, DESTINATION), "{{looopy_destination}}")],
            COUNT,
            "Spans in the outbox. It grows while a destination is down and empties once it is back.",
            levels={10_000: "red"},
        ),
        lines(
            "Waiting in memory",
            [Query(f"topk(10, {total(QUEUED, 'job', 'instance')})", "{{job}} {{instance}}")],
            COUNT,
            "The ten processes with the longest queues. A queue that stays long means too little CPU, or a lock.",
        ),
    ]


def _tables() -> list[Panel]:
    return [
        rows(
            "By service",
            [
                Query(total(added(EXPORTED, RANGE), "job", DESTINATION), "Delivered"),
                Query(total(SPOOLED, "job", DESTINATION), "Waiting on disk"),
                Query(_lost(RANGE, "job", DESTINATION), "Lost"),
            ],
            {"job": "Service", DESTINATION: "Destination"},
            "One row for each service and destination, over the time range of the dashboard.",
            width=12,
        ),
        rows(
            "Lost spans",
            [Query(f"{_lost(RANGE, 'job', DESTINATION, REASON)} > 0", "Spans")],
            {"job": "Service", DESTINATION: "Destination", REASON: "Reason"},
            "http-4xx: the destination refuses (keys, size). queue-full: spans came faster than they were written. "
            "shutdown: the process ended before its deadline sufficed.",
            width=12,
        ),
    ]


def _collectors() -> list[Panel]:
    room = total(COLLECTOR_ROOM, "exporter")
    return [
        lines(
            "Queue on disk",
            [Query(f"{total(COLLECTOR_QUEUE, 'exporter')}\n/ {room}", "{{exporter}}")],
            SHARE,
            "How full the collectors' queues are. When one is full, the applications keep what they have.",
            levels={0.8: "red"},
        ),
        bars(
            "Lost by collectors",
            [Query(zero_where(room, total(added(COLLECTOR_LOST, STEP), "exporter")), "{{exporter}}")],
            COUNT,
            "Spans that a destination refused for good. The applications have handed them over and do not know of it.",
        ),
    ]
