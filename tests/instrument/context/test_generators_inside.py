"""What a decorated generator has made current for itself, and what its consumer sees of that: nothing."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Generator
from typing import Any

import pytest

import looopy_otel as lo
from looopy_otel.core.hooks import is_suppressed
from looopy_otel.core.identity import current_identity, set_identity
from looopy_otel.testing import CapturedSpans
from tests.instrument.context.conftest import place

DECORATORS = [lo.trace_span, lo.trace_tool, lo.trace_llm, lo.trace_agent]


def answers(session: str) -> Generator[str]:
    """Yields in a session of its own."""
    with lo.session(session_id=session, user_id=session):
        with lo.span(f"in {session}"):
            pass
        yield "a"
        with lo.span(f"in {session}"):
            pass
        yield "b"
    assert current_identity().user_id is None
    yield "c"


@pytest.mark.parametrize("decorator", DECORATORS)
def test_a_session_around_a_yield_stays_inside(captured: CapturedSpans, decorator: Callable[..., Any]) -> None:
    traced = decorator(answers)
    for _ in traced("left"):
        with lo.span("meanwhile"):
            pass
        break
    for _ in zip(traced("alice"), traced("bob"), strict=True):
        with lo.span("meanwhile"):
            pass
    with lo.span("afterwards"):
        pass
    users = [(span.name, (span.attributes or {}).get("user.id")) for span in captured.spans()]
    outside = [user for name, user in users if name in ("meanwhile", "afterwards")]
    assert outside == [None] * 5
    assert {(name, user) for name, user in users if name.startswith("in ")} == {
        ("in left", "left"), ("in alice", "alice"), ("in bob", "bob"),
    }  # fmt: skip


def test_the_session_of_the_consumer_is_not_that_of_the_generator(captured: CapturedSpans) -> None:
    generator = lo.trace_span(answers)("inside")
    with lo.session(session_id="consumer"):
        next(generator)
        assert current_identity().session_id == "consumer"
        next(generator)
        assert current_identity().session_id == "consumer"
        generator.close()
        assert current_identity().session_id == "consumer"


def test_a_session_ends_in_whatever_context_the_generator_goes_on(captured: CapturedSpans) -> None:
    before = place()
    generator = lo.trace_span(answers)("inside")
    assert [contextvars.copy_context().run(next, generator) for _ in range(3)] == ["a", "b", "c"]
    contextvars.copy_context().run(generator.close)
    assert place() == before


def test_what_is_suppressed_around_a_yield_is_so_inside_alone(captured: CapturedSpans) -> None:
    @lo.trace_tool
    def quiet() -> Generator[int]:
        with lo.suppressed():
            yield 1
            assert is_suppressed()
            with lo.span("never"):
                yield 2

    for _ in quiet():
        with lo.span("consumer"):
            pass
    assert not is_suppressed()
    assert captured.outline().count("consumer") == 2
    assert "never" not in captured.outline()


def test_an_identity_that_is_set_to_stay_outlives_a_plain_operation(captured: CapturedSpans) -> None:
    before = current_identity()
    with lo.span("login"):
        scope = lo.session(user_id="alice")
        scope.__enter__()
    assert current_identity().user_id == "alice"
    set_identity(before)
