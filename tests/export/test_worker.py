from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from looopy_otel.core.draft import Cost, Draft, Failure, LLMDraft
from looopy_otel.core.settings import Dialect
from looopy_otel.core.types import DestinationStats
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.drafted import DraftedSpan
from looopy_otel.export.worker import Worker
from tests.export.spans import RESOURCE, finished, llm_draft


class Kept:
    """A destination that keeps what it is given."""

    def __init__(self, name: str, *dialects: Dialect, fails: bool = False) -> None:
        self.name = name
        self.dialects: tuple[Dialect, ...] = dialects
        self.got: list[Outgoing] = []
        self.deadlines: list[tuple[str, float]] = []
        self._fails = fails

    def accept(self, spans: Sequence[Outgoing]) -> None:
        if self._fails:
            raise ValueError("broken destination")
        self.got.extend(spans)

    def flush(self, deadline: float) -> bool:
        self.deadlines.append(("flush", deadline))
        return True

    def close(self, deadline: float) -> None:
        self.deadlines.append(("close", deadline))

    def stats(self) -> DestinationStats:
        return DestinationStats(self.name)


class Stages:
    """Stand-ins for the gate, the prices and the mapping; counts the renderings."""

    def __init__(self) -> None:
        self.rendered: list[tuple[Dialect, ...]] = []

    def redact(self, draft: Draft) -> Draft:
        if draft.name == "poison":
            raise ValueError("the gate fails")
        error = draft.error and replace(draft.error, message=self.text(draft.error.message))
        return replace(draft, input="redacted", error=error)

    def attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self.text(value) if isinstance(value, str) else value for key, value in attributes.items()}

    def text(self, text: str) -> str:
        return text.replace("secret", "***")

    def price(self, draft: Draft) -> Draft:
        if isinstance(draft, LLMDraft) and draft.request_model == "gpt-4o":
            assert draft.input == "redacted"
            return replace(draft, cost=Cost(Decimal("0.01")))
        return draft

    def render(self, draft: Draft, dialects: Sequence[Dialect]) -> dict[str, Any]:
        self.rendered.append(tuple(dialects))
        return {"rendered": f"{draft.input} as {'+'.join(dialects)}", "priced": "yes"}


def worker(stages: Stages, *destinations: Kept) -> Worker:
    return Worker(
        redact=stages.redact,
        redact_attributes=stages.attributes,
        redact_text=stages.text,
        redact_name=stages.text,
        price=stages.price,
        render=stages.render,
        is_own=lambda key: key.startswith("own."),
        destinations=destinations,
    )


def drafted(draft: LLMDraft | None = None, span: ReadableSpan | None = None) -> DraftedSpan:
    draft = draft or llm_draft()
    return DraftedSpan.of(span or finished(draft.name), draft)


def test_a_draft_is_redacted_priced_and_rendered_once_per_set_of_dialects() -> None:
    stages, one, two, three = (
        Stages(),
        Kept("one", "genai", "seed"),
        Kept("two", "seed", "genai"),
        Kept("three", "seed"),
    )
    worker(stages, one, two, three).export([drafted()])
    assert stages.rendered == [("genai", "seed"), ("seed",)]
    assert one.got == two.got
    assert (one.got[0].span.attributes or {})["rendered"] == "redacted as genai+seed"
    assert (three.got[0].span.attributes or {})["rendered"] == "redacted as seed"
    assert isinstance(three.got[0].draft, LLMDraft)
    assert three.got[0].draft.cost == Cost(Decimal("0.01"))


def test_a_destination_without_dialects_gets_the_draft_and_the_attributes_of_others() -> None:
    stages, local = Stages(), Kept("local")
    span = finished("llm.call", {"own.model": "x", "custom": "a secret"})
    worker(stages, local).export([drafted(span=span)])
    assert dict(local.got[0].span.attributes or {}) == {"custom": "a ***"}
    assert stages.rendered == []


def test_the_rendering_overlays_what_others_set_and_keeps_the_rest_of_the_span() -> None:
    stages, kept = Stages(), Kept("kept", "seed")
    span = finished("llm.call", {"own.old": 1, "rendered": "by another", "custom": 2})
    worker(stages, kept).export([drafted(span=span)])
    made = kept.got[0].span
    assert dict(made.attributes or {}) == {"rendered": "redacted as seed", "priced": "yes", "custom": 2}
    assert (made.context, made.parent, made.kind, made.resource) == (span.context, span.parent, span.kind, RESOURCE)
    assert (made.start_time, made.end_time) == (span.start_time, span.end_time)
    assert made.instrumentation_scope == span.instrumentation_scope


def test_an_error_is_a_status_and_an_exception_event_both_redacted() -> None:
    stages, kept = Stages(), Kept("kept", "seed")
    worker(stages, kept).export([drafted(llm_draft(error=Failure("TimeoutError", "secret timeout")))])
    made = kept.got[0].span
    assert (made.status.status_code, made.status.description) == (StatusCode.ERROR, "*** timeout")
    (event,) = made.events
    assert event.name == "exception"
    assert dict(event.attributes or {}) == {"exception.type": "TimeoutError", "exception.message": "*** timeout"}
    assert event.timestamp == made.end_time


def test_an_error_whose_text_is_not_recorded_keeps_its_type() -> None:
    stages, kept = Stages(), Kept("kept", "seed")
    worker(stages, kept).export([drafted(llm_draft(error=Failure("TimeoutError", "")))])
    made = kept.got[0].span
    assert (made.status.status_code, made.status.description) == (StatusCode.ERROR, None)
    assert dict(made.events[0].attributes or {}) == {"exception.type": "TimeoutError"}


def test_spans_of_others_pass_the_gate_in_every_part() -> None:
    stages, kept = Stages(), Kept("kept", "seed")
    context = SpanContext(1, 2, is_remote=False)
    span = ReadableSpan(
        name="GET /?token=secret",
        context=finished().context,
        resource=RESOURCE,
        attributes={"url": "http://secret", "own.kept": "set by us at start"},
        events=[Event("exception", {"exception.message": "secret"}, 5)],
        links=[Link(context, {"note": "secret"})],
        status=Status(StatusCode.ERROR, "secret"),
    )
    worker(stages, kept).export([span])
    made = kept.got[0].span
    assert kept.got[0].draft is None
    assert made.name == "GET /?token=***"
    assert dict(made.attributes or {}) == {"url": "http://***", "own.kept": "set by us at start"}
    assert dict(made.events[0].attributes or {}) == {"exception.message": "***"}
    assert dict(made.links[0].attributes or {}) == {"note": "***"}
    assert (made.links[0].context, made.events[0].timestamp) == (context, 5)
    assert made.status.description == "***"


def test_a_fault_costs_the_span_that_it_is_in_and_no_other(swallowed_faults: Counter[str]) -> None:
    kept = Kept("kept", "seed")
    pipeline = worker(Stages(), kept)
    pipeline.export([drafted(), drafted(llm_draft(name="poison")), drafted()])
    assert len(kept.got) == 2
    assert pipeline.dropped == {"fault": 1}
    assert swallowed_faults == {"export.worker": 1}


def test_a_destination_that_fails_costs_no_other(swallowed_faults: Counter[str]) -> None:
    broken, kept = Kept("broken", "seed", fails=True), Kept("kept", "seed")
    pipeline = worker(Stages(), broken, kept)
    pipeline.export([drafted()])
    assert len(kept.got) == 1
    assert pipeline.dropped == {"fault": 1}
    assert swallowed_faults == {"export.broken": 1}


def test_answered_calls_without_a_price_are_counted_by_the_model_that_answered() -> None:
    pipeline = worker(Stages(), Kept("kept", "seed"))
    pipeline.export(
        [
            drafted(),
            drafted(llm_draft(request_model="alias", response_model="mystery-1")),
            drafted(llm_draft(request_model="mystery-2")),
            drafted(llm_draft(request_model="mystery-2", answered=False)),
        ]
    )
    assert pipeline.unpriced_calls == {"mystery-1": 1, "mystery-2": 1}


def test_all_destinations_share_one_deadline_and_are_hurried_before_any_is_waited_for() -> None:
    one, two = Kept("one"), Kept("two")
    pipeline = worker(Stages(), one, two)
    before = time.monotonic()
    assert pipeline.force_flush(60_000)
    assert [what for what, _ in one.deadlines] == ["flush", "flush"]
    assert two.deadlines[0][1] < before + 30 < two.deadlines[1][1]
    assert one.deadlines[1] == two.deadlines[1]
    pipeline.shutdown(60_000)
    assert one.deadlines[-1][0] == "close"
    assert one.deadlines[-1] == two.deadlines[-1]
