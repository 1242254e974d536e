"""Prints the events of an agent run as they come, and the tools as they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from looopy_otel.agent import AgentEvent, StatusUpdateEvent, TaskEvent
from looopy_otel.cli.terminal import printable, say

RULE: Final = "=" * 70


def print_header(title: str, url: str, api_key: str | None, prompt: str) -> None:
    """Prints the title, where the model is, whether there is a key (never the key) and what the user asks."""
    say(f"🚀 {title}\n\n{RULE}\n")
    say(f"📡 LiteLLM URL: {printable(url)}")
    say(f"🔑 API Key: {'***' if api_key else 'none'}\n\n{RULE}\n")
    say(f"💬 User: {printable(prompt)}\n{RULE}")


def print_event(number: int, event: AgentEvent) -> None:
    """Prints one event with its number, counted from 1."""
    say(f"\n[{number}] 📡 Event: {event.kind}")
    if isinstance(event, TaskEvent):
        say(f"    Task ID: {event.id}\n    Status: {event.status.state}")
    elif isinstance(event, StatusUpdateEvent):
        say(f"    Status: {event.status.state}")
        if event.status.message:
            say(f"    Message: {printable(event.status.message)}")
        if event.final:
            say("    ✅ FINAL EVENT" if event.status.state == "completed" else "    ❌ FINAL EVENT")


def print_footer(events: int, completed: bool) -> None:
    """Prints how the run ended and how many events there were."""
    say(f"\n{RULE}\n{'✅ Completed!' if completed else '❌ Failed!'} Total events: {events}\n{RULE}")


def print_tool(name: str, arguments: Mapping[str, Any]) -> None:
    """Prints that a tool runs, and with what."""
    shown = ", ".join(f"{key}: {value!r}" for key, value in arguments.items())
    say(f"\n🔧 Executing: {printable(name)}\n   Arguments: {{ {printable(shown)} }}")
