"""The usage that an answer tells, where it is one."""

from __future__ import annotations

from looopy_otel.core.types import Message
from looopy_otel.core.usage import Usage, usage_of


def counted(reported: object, message: Message) -> Usage | None:
    """Reads the usage of an answer; None where nobody counted.

    Some servers and libraries write zeros then. An answer that says anything has used tokens, so those are no usage.

    Args:
        reported: What the answer tells, in any known shape.
        message: What it says.
    """
    usage = usage_of(reported)
    says_something = message.content or message.tool_calls or message.reasoning
    return None if usage is not None and says_something and not usage.total_tokens else usage
