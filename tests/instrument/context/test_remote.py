"""Traces that come in with requests and go out with them."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

import looopy_otel as lo
from looopy_otel.core.identity import current_identity
from looopy_otel.instrument.remote import continue_trace, trace_headers
from looopy_otel.testing import CapturedSpans
from tests.instrument.context.conftest import place
from tests.instrument.context.operations import ANSWER, llm, step

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
INCOMING = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": INCOMING},
        {"TraceParent": INCOMING},
        {b"traceparent": INCOMING.encode()},
        [(b"host", b"example"), (b"traceparent", INCOMING.encode())],
        [("Traceparent", INCOMING)],
        {"HTTP_TRACEPARENT": INCOMING, "wsgi.input": object(), "SERVER_PORT": 80},
        {"traceparent": [INCOMING]},
        {"traceparent": UNSAMPLED},
        {"traceparent": INCOMING, "tracestate": "vendor=1"},
    ],
)
def test_the_callers_span_is_the_parent(captured: CapturedSpans, headers: Any) -> None:
    before = place()
    with continue_trace(headers):
        step("inside").end()
    assert place() == before
    step("outside").end()
    inside, outside = captured.span("inside"), captured.span("outside")
    assert inside.context
    assert inside.parent
    assert outside.parent is None
    assert (format(inside.context.trace_id, "032x"), format(inside.parent.span_id, "016x")) == (TRACE, PARENT)


@pytest.mark.parametrize(
    "headers",
    [
        None,
        {},
        {"traceparent": ""},
        {"traceparent": "nonsense"},
        {"traceparent": f"00-{'0' * 32}-{PARENT}-01"},
        {"traceparent": f"ff-{TRACE}-{PARENT}-01"},
        {"traceparent": f"00-{TRACE.upper()}x-{PARENT}-01"},
        {"traceparent": 7},
        {"traceparent": b"\xff\xfe"},
        {"traceparent": "0" * 100_000},
        {7: INCOMING, None: INCOMING},
        [("traceparent", INCOMING), ("traceparent", INCOMING)],
        [("traceparent",), 3, None],
        "traceparent",
        7,
    ],
)
def test_headers_that_name_no_trace_change_nothing(captured: CapturedSpans, headers: Any) -> None:
    with continue_trace(headers):
        step("inside").end()
    assert captured.span("inside").parent is None


def test_the_local_root_is_a_root_for_langfuse_and_its_parts_are_none(captured: CapturedSpans) -> None:
    with continue_trace({"traceparent": INCOMING}):
        outer = step("outer")
        step("inner").end()
        outer.end()
    outer_attributes, inner = captured.attributes("outer"), captured.attributes("inner")
    assert outer_attributes["langfuse.internal.is_app_root"] is True
    assert outer_attributes["langfuse.internal.as_root"] == "true"
    assert not inner.keys() & {"langfuse.internal.is_app_root", "langfuse.internal.as_root"}


@pytest.mark.parametrize("headers", [{"traceparent": UNSAMPLED}, {"traceparent": INCOMING}])
@pytest.mark.parametrize(("sampler", "recorded"), [("parentbased_always_on", 1), ("parentbased_always_off", 0)])
def test_the_callers_word_on_sampling_is_not_taken_over(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], sampler: str, recorded: int
) -> None:
    from looopy_otel.testing import capture_spans

    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    with capture_spans() as captured, continue_trace(headers):
        llm().end(ANSWER)
    assert captured.outline() == ["llm.call"] * recorded


async def test_it_works_with_async_with_and_in_tasks(captured: CapturedSpans) -> None:
    async def handle(number: int) -> None:
        async with continue_trace({"traceparent": f"00-{number:032x}-{PARENT}-01"}):
            await asyncio.sleep(0)
            step(f"request {number}").end()

    await asyncio.gather(*(handle(number) for number in range(1, 6)))
    for number in range(1, 6):
        context = captured.span(f"request {number}").context
        assert context
        assert context.trace_id == number


def test_left_elsewhere_it_leaves_that_place_alone(captured: CapturedSpans) -> None:
    elsewhere = contextvars.copy_context()
    block = continue_trace({"traceparent": INCOMING})
    elsewhere.run(block.__enter__)
    before = place()
    block.__exit__(None, None, None)
    assert place() == before


def test_what_is_left_open_inside_ends_with_the_request(captured: CapturedSpans) -> None:
    before = place()
    with continue_trace({"traceparent": INCOMING}):
        step("never ended")
    assert place() == before


def test_a_server_span_of_the_same_trace_is_nearer(captured: CapturedSpans) -> None:
    server = TracerProvider().get_tracer("web")
    with continue_trace({"traceparent": INCOMING}), server.start_as_current_span("GET /") as span:
        with continue_trace({"traceparent": INCOMING}):
            step("inside").end()
    inside = captured.span("inside")
    assert inside.parent
    assert inside.parent.span_id == span.get_span_context().span_id
    assert captured.attributes("inside")["langfuse.internal.is_app_root"] is True


def test_a_request_handled_in_the_task_of_its_client_is_not_the_clients_call(captured: CapturedSpans) -> None:
    call = llm()
    with continue_trace(call.headers()):
        llm().end(ANSWER)
    call.end(ANSWER)
    assert captured.outline() == ["llm.call", "  llm.call"]


def test_outgoing_headers_name_the_current_span(captured: CapturedSpans) -> None:
    assert trace_headers() == {}
    outer = step("outer")
    headers = trace_headers()
    assert headers == dict(outer.headers())
    with continue_trace(headers):
        step("inside").end()
    outer.end()
    assert captured.outline() == ["outer", "  inside"]


def test_outgoing_headers_of_a_request_that_only_passes_through(captured: CapturedSpans) -> None:
    with continue_trace({"traceparent": INCOMING, "tracestate": "vendor=1"}):
        assert trace_headers() == {"traceparent": INCOMING, "tracestate": "vendor=1"}


def test_who_it_is_about_goes_along_only_when_both_sides_say_so(captured: CapturedSpans) -> None:
    with lo.session(session_id="Sitzung 7, äöü", user_id="u=1;x"), lo.span("outer"):
        silent, told = trace_headers(), trace_headers(identity=True)
    assert "baggage" not in silent
    with continue_trace(told):
        assert (current_identity().session_id, current_identity().user_id) == (None, None)
    with lo.session(tags=["mine"]), continue_trace(told, identity=True):
        identity = current_identity()
        assert (identity.session_id, identity.user_id, identity.tags) == ("Sitzung 7, äöü", "u=1;x", ("mine",))
    with continue_trace({"baggage": "session.id=s"}, identity=True):
        assert current_identity().session_id == "s"
    assert current_identity().session_id is None


@pytest.mark.parametrize("baggage", ["", ";;;", "session.id", "session.id=", f"session.id={'x' * 300}", "%=%", "a=b"])
def test_baggage_that_says_nothing_usable_is_ignored(captured: CapturedSpans, baggage: str) -> None:
    with continue_trace({"traceparent": INCOMING, "baggage": baggage}, identity=True):
        assert current_identity().session_id is None


def test_without_tracing_headers_come_and_go(recwarn: pytest.WarningsRecorder) -> None:
    with continue_trace({"traceparent": INCOMING}):
        assert trace_headers() == {"traceparent": INCOMING}
    assert trace_headers(identity=True) == {}
