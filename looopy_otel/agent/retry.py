"""Trying again, as middleware: LLM calls that failed in a way that another try may help."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import reduce
from importlib import import_module
from operator import add
from typing import Any, Final, TypeAlias, cast

from looopy_otel.agent.pricing import price_of
from looopy_otel.core.delivery import Delivery, current_delivery, watch_delivery
from looopy_otel.core.errors import ConfigurationError, MissingExtraError
from looopy_otel.core.hooks import Recorder, announce, innermost
from looopy_otel.core.money import total_if_known
from looopy_otel.core.operation import Attempt, CallNext, LLMCall, Step
from looopy_otel.core.types import LLMResponse
from looopy_otel.core.usage import Usage

RetryOn: TypeAlias = "type[BaseException] | Sequence[type[BaseException]] | Callable[[BaseException], bool]"

RETRYABLE_STATUSES: Final = frozenset({408, 409, 429})
"""HTTP statuses below 500 after which another try may help; all from 500 on do."""

LONGEST_RETRY_AFTER: Final = 60.0
"""Seconds that an endpoint may ask to wait for; where it wants more, there is no further try."""

_CONNECTION_ERRORS: Final = frozenset({"APIConnectionError", "TransportError", "ClientConnectionError"})
"""Classes of OpenAI's, Anthropic's and LiteLLM's SDKs, of httpx and of aiohttp; none of them is imported here."""


class Retry:
    """Makes a failed LLM call again, in the middleware of a loop, a provider, or a wrapped client.

    However many tries there are, they are one ``llm.call``, with an ``llm.attempt`` for each. Any other operation
    passes through. A call is not made again after the user got a part of its answer, nor when it was cancelled.
    Behind it in the same list, a `Budget` counts every try, as the totals of a run do. An answer that a middleware
    behind it refused was paid for, so its tokens are part of the response's usage. The waiting is tenacity's.

    Args:
        attempts: Tries in all, the first one included.
        initial_delay: Seconds before the second try; doubled before each further one, with some random part.
        max_delay: Seconds before a try, at most. Where the endpoint says when it wants the next try (``Retry-After``,
            up to 60 s), that is obeyed instead.
        retry_on: What to try again after: exception classes, or a function of the exception. By default what says that
            it is retryable, the statuses 408, 409, 429 and from 500 on, failed connections, and timeouts.

    Raises:
        ConfigurationError: If a number is out of range.
        MissingExtraError: If tenacity is not installed.
    """

    def __init__(
        self,
        attempts: int = 3,
        initial_delay: float = 0.5,
        max_delay: float = 8.0,
        retry_on: RetryOn | None = None,
    ) -> None:
        if attempts < 1 or initial_delay < 0 or max_delay < 0:
            raise ConfigurationError(
                f"Retry: attempts={attempts!r} must be at least 1, initial_delay={initial_delay!r} and "
                f"max_delay={max_delay!r} at least 0 seconds"
            )
        self._tenacity = _tenacity()
        self._attempts = attempts
        self._is_retryable = is_retryable if retry_on is None else _predicate(retry_on)
        growing = self._tenacity.wait_exponential(multiplier=initial_delay, max=max_delay)
        self._backoff = growing + self._tenacity.wait_random(0, initial_delay / 4)
        self._max_delay = max_delay

    async def __call__(self, operation: Any, call_next: CallNext, /) -> Any:
        """Makes an LLM call, again if need be.

        Raises:
            Exception: What the last try raised.
        """
        if not isinstance(operation, LLMCall):
            return await call_next(operation)
        delivery, before = Delivery(), current_delivery()
        # Outside of the call's span this is the call, and what is announced inside are its tries.
        around = _call_around()
        call = announce(replace(operation, inner="join")) if around is None else around
        watch_delivery(delivery)
        try:
            response = _with_all(await self._tries(operation, call_next, delivery), delivery.answers[:-1])
        except BaseException as error:
            cost = None
            try:
                if isinstance(error, Exception):
                    cost = await _cost_told(operation, delivery.answers)
            finally:
                call.record(usage=_usage_of(delivery.answers), cost=cost)
                if around is None:
                    call.end(error=error)
            raise
        finally:
            watch_delivery(before)
        if around is None:
            call.end(response)
        return response

    async def _tries(self, operation: LLMCall, call_next: CallNext, delivery: Delivery) -> Any:
        tenacity = self._tenacity

        def emit(delta: Any) -> None:
            delivery.begun = True
            operation.emit(delta)

        async def attempt() -> Any:
            state, waited = states[-1], sum(delays)
            delays.append(state.idle_for - waited)
            made = Attempt(number=state.attempt_number, delay=delays[-1], identity=operation.identity)
            return await _attempt(made, asked, call_next)

        def helps(error: BaseException) -> bool:
            return not delivery.begun and self._helps(error)

        asked = replace(operation, emit=emit)
        states: list[Any] = []
        delays: list[float] = []
        retrying = tenacity.AsyncRetrying(
            sleep=asyncio.sleep,
            stop=tenacity.stop_after_attempt(self._attempts),
            wait=self._wait,
            retry=tenacity.retry_if_exception(helps),
            before=states.append,
            reraise=True,
        )
        return await retrying(attempt)

    def _helps(self, error: BaseException) -> bool:
        wanted = retry_after(error)
        return (
            isinstance(error, Exception)
            and self._is_retryable(error)
            and (wanted is None or wanted <= LONGEST_RETRY_AFTER)
        )

    def _wait(self, state: Any) -> float:
        wanted = retry_after(state.outcome.exception())
        return min(self._backoff(state), self._max_delay) if wanted is None else wanted


def _call_around() -> Recorder | None:
    """The recorder of the call itself, where it has one already: in the middleware of a provider or wrapped client."""
    recorder: Any = innermost()
    while isinstance(getattr(recorder, "operation", None), Step | Attempt):
        recorder = getattr(recorder, "parent", None)
    inside = isinstance(getattr(recorder, "operation", None), LLMCall) and not getattr(recorder, "ended", True)
    return recorder if inside else None


async def _attempt(attempt: Attempt, operation: LLMCall, call_next: CallNext) -> Any:
    handle = announce(attempt)
    try:
        response = await call_next(operation)
    except BaseException as error:
        handle.end(error=error)
        raise
    handle.end(response)
    return response


def _usage_of(answers: Sequence[LLMResponse]) -> Usage | None:
    """What answers used together, as far as they tell."""
    usages = [answer.usage for answer in answers if answer.usage is not None]
    return reduce(add, usages) if usages else None


def _with_all(response: Any, refused: Sequence[LLMResponse]) -> Any:
    """A response with what the tries before it used as well: they were answered, and then refused by a middleware."""
    if not isinstance(response, LLMResponse) or not refused:
        return response
    answers = (*refused, response)
    usage, cost = _usage_of(answers), total_if_known([answer.cost for answer in answers])
    return replace(
        response,
        usage=usage,
        usage_source="missing" if usage is None else "reported",
        cost=cost,
        cost_source="unknown" if cost is None else "provider",
        tries=answers,
    )


async def _cost_told(operation: LLMCall, refused: Sequence[LLMResponse]) -> Decimal | None:
    """USD of tries that were all refused; None where nobody knows, or where the usage of all together tells it too."""
    cost = total_if_known([await price_of(operation, answer) for answer in refused]) if refused else None
    if cost is None or any(answer.cost is not None for answer in refused):
        return cost
    together = replace(refused[-1], usage=_usage_of(refused))
    return None if cost == await price_of(operation, together) else cost


def is_retryable(error: BaseException) -> bool:
    """True for an error after which the same call may succeed: by what it says of itself, its status, or its class."""
    told = getattr(error, "retryable", None)
    if isinstance(told, bool):
        return told
    for name in ("status_code", "status"):
        status = getattr(error, name, None)
        if isinstance(status, int) and status:
            return status in RETRYABLE_STATUSES or status >= 500
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, ConnectionError | TimeoutError) or bool(names & _CONNECTION_ERRORS)


def retry_after(error: BaseException | None) -> float | None:
    """Seconds after which the endpoint wants the next try; None where it does not say.

    It is an attribute of the error, or a header of its response: ``retry-after-ms`` in milliseconds, or ``retry-after``
    in seconds or as a date (https://www.rfc-editor.org/rfc/rfc9110#field.retry-after).
    """
    told = getattr(error, "retry_after", None)
    if isinstance(told, int | float) and not isinstance(told, bool):
        return max(float(told), 0.0)
    response = getattr(error, "response", None)
    headers: object = getattr(response, "headers", None)
    if not isinstance(headers, Mapping):
        return None
    fields = {str(name).lower(): value for name, value in cast("Mapping[object, object]", headers).items()}
    milliseconds = _number(fields.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    seconds = _number(fields.get("retry-after"))
    return _seconds_until(fields.get("retry-after")) if seconds is None else seconds


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, str | int | float) else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < float("inf") else None


def _seconds_until(value: object) -> float | None:
    date = email.utils.parsedate_tz(value) if isinstance(value, str) else None
    return None if date is None else max(email.utils.mktime_tz(date) - time.time(), 0.0)


def _predicate(retry_on: RetryOn) -> Callable[[BaseException], bool]:
    if isinstance(retry_on, type):
        return lambda error: isinstance(error, retry_on)
    if isinstance(retry_on, Sequence):
        kinds = tuple(cast("Sequence[type[BaseException]]", retry_on))
        return lambda error: isinstance(error, kinds)
    return retry_on


def _tenacity() -> Any:
    try:
        return import_module("tenacity")
    except ImportError as error:
        raise MissingExtraError("Retry needs tenacity: pip install 'looopy-otel[retry]'", name="tenacity") from error
