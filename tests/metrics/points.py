"""What arrived at the sink, in plain values: metrics by name, points by labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Exemplar,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)

from tests.support.otlp_sink import OTLPSink, ReceivedMetrics

DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


@dataclass(frozen=True)
class Point:
    """One data point.

    Attributes:
        labels: Its attributes.
        value: Its value; of a histogram the sum.
        count: How many measurements a histogram has; 0 for others.
        bounds: The buckets of a histogram.
        exemplars: Trace ids of its exemplars, as hex digits.
    """

    labels: Mapping[str, str]
    value: float
    count: int = 0
    bounds: tuple[float, ...] = ()
    exemplars: tuple[str, ...] = ()


def metrics(request: ReceivedMetrics) -> dict[str, Metric]:
    """The metrics of one request, by name."""
    return {
        metric.name: metric
        for resource in request.message.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def resource(request: ReceivedMetrics) -> dict[str, str]:
    """The attributes of the resource that the metrics are about."""
    (only,) = request.message.resource_metrics
    return _attributes(only.resource.attributes)


def points(sink: OTLPSink, name: str) -> list[Point]:
    """The points of a metric in the last accepted request that has it; none where there is none."""
    for request in reversed([request for request in sink.metric_requests if request.accepted]):
        if name in metrics(request):
            return list(points_of(metrics(request)[name]))
    return []


def point(sink: OTLPSink, name: str, **labels: str) -> Point:
    """The one point of a metric that has these labels, dots written as underscores."""
    wanted = set(labels.items())
    found = [one for one in points(sink, name) if wanted <= {(k.replace(".", "_"), v) for k, v in one.labels.items()}]
    assert len(found) == 1, f"{name}{labels}: {points(sink, name)}"
    return found[0]


def points_of(metric: Metric) -> Iterator[Point]:
    """The points of one metric."""
    for histogram in metric.histogram.data_points:
        yield _histogram(histogram)
    for number in (*metric.sum.data_points, *metric.gauge.data_points):
        yield _number(number)


def _histogram(point: HistogramDataPoint) -> Point:
    bounds = tuple(point.explicit_bounds)
    return Point(_attributes(point.attributes), point.sum, point.count, bounds, _traces(point.exemplars))


def _number(point: NumberDataPoint) -> Point:
    value = point.as_double if point.WhichOneof("value") == "as_double" else point.as_int
    return Point(_attributes(point.attributes), float(value), exemplars=_traces(point.exemplars))


def _attributes(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {attribute.key: attribute.value.string_value for attribute in attributes}


def _traces(exemplars: Iterable[Exemplar]) -> tuple[str, ...]:
    return tuple(exemplar.trace_id.hex() for exemplar in exemplars)
