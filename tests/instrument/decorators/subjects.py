"""What the behaviour suite decorates: the same story told by each kind of function, under each decorator."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from typing import Any, cast

import looopy_otel as lo
from looopy_otel.instrument import decorators

Act = Callable[[], Any]


def nothing() -> None:
    """Does nothing."""


def shout(text: str = "hi", times: int = 1, *, act: Act = nothing) -> str:
    """Shouts."""
    act()
    return text.upper() * times


async def shout_async(text: str = "hi", times: int = 1, *, act: Act = nothing) -> str:
    """Shouts."""
    await asyncio.sleep(0)
    act()
    return text.upper() * times


def shout_slowly(text: str = "hi", times: int = 1, *, act: Act = nothing) -> Generator[str, str | None, str]:
    """Shouts."""
    sent: list[str] = []
    for _ in range(times):
        act()
        sent.append((yield text.upper()) or "")
    return "".join(sent)


async def shout_slowly_async(
    text: str = "hi", times: int = 1, *, act: Act = nothing
) -> AsyncGenerator[str, str | None]:
    """Shouts."""
    for _ in range(times):
        await asyncio.sleep(0)
        act()
        heard = yield text.upper()
        if heard:
            yield heard


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sync": shout,
    "async": shout_async,
    "generator": shout_slowly,
    "async generator": shout_slowly_async,
}
CHECKS = (
    inspect.isfunction,
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)
DECORATORS: dict[str, Callable[..., Any]] = {
    "agent.execute": decorators.trace_agent,
    "agent.iteration": decorators.trace_iteration,
    "llm.call": decorators.trace_llm,
    "tool.execute": decorators.trace_tool,
    "step": decorators.trace_span,
}


def options(span: str) -> dict[str, Any]:
    """Arguments that the decorator of a span can be given."""
    return {"agent.iteration": {"number": 7}, "llm.call": {"model": "gpt-4o"}}.get(span, {"name": "step"})


def complete(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Calls a function of any kind and waits for all of it; what is yielded is joined."""

    async def wait_for(awaitable: Any) -> str:
        return await awaitable

    async def exhaust(items: Any) -> str:
        return "".join([item async for item in items])

    made: Any = function(*args, **kwargs)
    if inspect.isasyncgen(made):
        return asyncio.run(exhaust(made))
    if inspect.iscoroutine(made):
        return asyncio.run(wait_for(made))
    return "".join(cast("Any", made)) if inspect.isgenerator(made) else made


def sent(function: Any) -> Any:
    """What arrives in another process to which a function is sent by its code."""
    cloudpickle: Any = importlib.import_module("cloudpickle")  # It comes without types.
    return cloudpickle.loads(cloudpickle.dumps(function))


@dataclass(frozen=True)
class Subject:
    """One decorator on one kind of function."""

    span: str
    kind: str

    @property
    def plain(self) -> Callable[..., Any]:
        return FUNCTIONS[self.kind]

    @property
    def name(self) -> str:
        """The name of its span."""
        return "step" if self.span == "step" else self.span

    def decorated(self, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
        return DECORATORS[self.span](**options(self.span))(function or self.plain)

    @property
    def streams(self) -> bool:
        return self.kind.endswith("generator")


SUBJECTS = [Subject(span, kind) for span in DECORATORS for kind in FUNCTIONS]
STREAMS = [subject for subject in SUBJECTS if subject.kind == "generator"]
ASYNC_STREAMS = [subject for subject in SUBJECTS if subject.kind == "async generator"]


@lo.trace_span
def module_level(x: int) -> int:
    """Can be pickled."""
    return x + 1
