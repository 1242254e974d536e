"""What metrics need of an operation whose trace nobody will see: all but its content."""

from __future__ import annotations

from dataclasses import replace

from looopy_otel.core.operation import AgentRun, LLMCall, Operation, ToolRun
from looopy_otel.core.types import AgentResult, LLMResponse, Message, ToolResult

MEASURED = (AgentRun, LLMCall, ToolRun)
"""The operations that metrics are about."""

_PRICED_PARAMETERS = ("service_tier", "speed")
"""Parameters of a request that its price depends on."""


def operation_without_content(operation: Operation) -> Operation:
    """The operation without messages, prompts, tools and arguments; nothing is copied and nothing is looked at."""
    match operation:
        case LLMCall():
            kept = {name: operation.parameters[name] for name in _PRICED_PARAMETERS if name in operation.parameters}
            return replace(
                operation,
                messages=(),
                tools=(),
                tool_choice=None,
                response_format=None,
                parameters=kept,
                input=None,
                metadata={},
            )
        case AgentRun():
            return replace(operation, messages=(), prompt=None, metadata={})
        case ToolRun():
            return replace(operation, arguments={})
        case _:
            return operation


def result_without_content(result: object) -> object:
    """The result, or the partial one, without what was said."""
    match result:
        case LLMResponse():
            return replace(result, message=Message("assistant"), others=(), native=None)
        case AgentResult():
            return replace(result, output=None)
        case ToolResult():
            return replace(result, content=None)
        case _:
            return None
