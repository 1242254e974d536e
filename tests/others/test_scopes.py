"""Which spans go out: patterns of instrumentation scopes, and what counts as being about an LLM."""

from __future__ import annotations

import time

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import looopy_otel as lo
from looopy_otel.export.scopes import ScopeFilter, is_about_llms
from tests.others.application import call, calls_in

OWN = "looopy_otel"


@pytest.mark.parametrize(
    ("patterns", "scope", "verdict"),
    [
        ([], "any", None),
        (["my-tool"], "my-tool", True),
        (["my-tool"], "my-tools", False),
        (["my-*"], "my-tools", True),
        (["*tool*s"], "my-tools", True),
        (["a*b*c"], "a-c-b", False),
        (["a*a"], "a", False),
        (["!noisy.*"], "noisy.http", False),
        (["!noisy.*"], "quiet", None),
        (["noisy.*", "!noisy.http"], "noisy.http", False),
        (["noisy.*", "!noisy.http"], "noisy.db", True),
        (["my-tool"], OWN, True),
        (["!*"], OWN, True),
        (["!*"], "any", False),
        ([f"!{OWN}"], OWN, False),
    ],
)
def test_patterns(patterns: list[str], scope: str, verdict: bool | None) -> None:
    assert ScopeFilter(patterns, OWN).verdict(scope) is verdict


def test_matching_takes_linear_time() -> None:
    pattern, text = "*a" * 2000 + "*b", "a" * 200_000
    began = time.perf_counter()
    assert ScopeFilter([pattern], OWN).verdict(text) is False
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("scope", "attributes", "told"),
    [
        ("langfuse-sdk", {}, True),
        ("openinference.instrumentation.openai", {}, True),
        ("opentelemetry.instrumentation.openai_v2", {}, True),
        ("opentelemetry.instrumentation.asgi", {}, False),
        ("opentelemetry.instrumentation", {}, False),
        ("airflow", {}, False),
        ("mine", {"gen_ai.request.model": "m"}, True),
        ("mine", {"langfuse.observation.type": "tool"}, True),
        ("mine", {"langfuse.trace.name": "t", "langfuse.observation.prompt.name": "p", "user.id": "u"}, False),
    ],
)
def test_what_is_about_llms(scope: str, attributes: dict[str, str], told: bool) -> None:
    assert is_about_llms(scope, attributes) is told


def names_and_calls(patterns: list[str]) -> tuple[list[str], int, int]:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    with lo.configure(exporters=exporter, metrics=reader, instrumentation_scopes=patterns) as telemetry:
        call()
        for scope in ("my-tool", "noisy"):
            with telemetry.tracer(scope).start_as_current_span(scope):
                pass
        telemetry.flush()
        calls, dropped = calls_in(reader), sum(telemetry.stats().dropped.values())
    return sorted(span.name for span in exporter.get_finished_spans()), calls, dropped


def test_the_filter_applies_to_a_private_provider_too() -> None:
    assert names_and_calls(["!noisy"]) == (["llm.call", "my-tool"], 1, 0)


def test_our_calls_are_measured_though_their_spans_are_left_out() -> None:
    assert names_and_calls(["!looopy_otel"]) == (["my-tool", "noisy"], 1, 0)
