"""What happened inside a run whose code does not count it: turns, calls, tools and tokens."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from looopy_otel.core.operation import Iteration, LLMCall, Operation, ToolRun
from looopy_otel.core.types import LLMResponse
from looopy_otel.core.usage import Usage


@dataclass(frozen=True, slots=True)
class Totals:
    """The parts of a run so far, those of the runs inside it included.

    Attributes:
        iterations: Turns of the run itself.
        llm_calls: LLM calls, failed ones included.
        tool_calls: Tool calls, failed ones included.
        usage: Tokens; None when no call reported any.
        finish_reason: That of the last LLM call that ended.
        own_llm_calls: LLM calls without those of runs inside it.
        own_tool_calls: Tool calls without those of runs inside it.
    """

    iterations: int = 0
    llm_calls: int = 0
    tool_calls: int = 0
    usage: Usage | None = None
    finish_reason: str | None = None
    own_llm_calls: int = 0
    own_tool_calls: int = 0


class Tally:
    """Counts the parts of one run or turn; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.totals = Totals()

    def count(self, operation: Operation, response: object) -> None:
        """Counts one operation that ended."""
        now = self.totals
        match operation:
            case Iteration():
                self._add(iterations=1)
            case ToolRun():
                self._add(tool_calls=1, own_tool_calls=1)
            case LLMCall():
                told = response if isinstance(response, LLMResponse) else None
                self._add(
                    llm_calls=1,
                    own_llm_calls=1,
                    usage=told.usage if told else None,
                    finish_reason=(told.finish_reason if told else None) or now.finish_reason,
                )
            case _:
                pass

    def absorb(self, inner: Totals) -> None:
        """Adds the totals of a run inside this one; its turns are its own."""
        self._add(llm_calls=inner.llm_calls, tool_calls=inner.tool_calls, usage=inner.usage)

    def _add(
        self,
        *,
        iterations: int = 0,
        llm_calls: int = 0,
        tool_calls: int = 0,
        usage: Usage | None = None,
        finish_reason: str | None = None,
        own_llm_calls: int = 0,
        own_tool_calls: int = 0,
    ) -> None:
        with self._lock:
            now = self.totals
            self.totals = Totals(
                iterations=now.iterations + iterations,
                llm_calls=now.llm_calls + llm_calls,
                tool_calls=now.tool_calls + tool_calls,
                usage=now.usage + usage if now.usage and usage else now.usage or usage,
                finish_reason=finish_reason or now.finish_reason,
                own_llm_calls=now.own_llm_calls + own_llm_calls,
                own_tool_calls=now.own_tool_calls + own_tool_calls,
            )
