"""Rules of what an observation is: type, name, level, identity, roots, metadata (sections 2 to 4 and 8)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tests.support.langfuse_rules.reading import json_object
from tests.support.spans import Span

TYPES: Final = frozenset(
    ["span", "generation", "event", "embedding", "agent", "tool", "chain", "retriever", "guardrail", "evaluator"]
)  # fmt: skip
LEVELS: Final = frozenset({"DEBUG", "DEFAULT", "WARNING", "ERROR"})
IDENTITY: Final = (
    "session.id",
    "user.id",
    "langfuse.trace.name",
    "langfuse.trace.tags",
    "langfuse.environment",
    "langfuse.release",
    "langfuse.version",
)
APP_ROOT, AS_ROOT = "langfuse.internal.is_app_root", "langfuse.internal.as_root"
SPECIAL_SCOPES: Final = frozenset({"ai", "genkit-tracer", "pydantic-ai", "livekit-agents", "gcp.vertex.agent"})
RENAMING_KEYS: Final = ("gen_ai.tool.name", "genkit:name", "logfire.msg", "ai.toolCall.name", "ai.telemetry.functionId")
OPERATION_TYPES: Final[Mapping[str, str]] = {
    "chat": "generation",
    "text_completion": "generation",
    "generate_content": "generation",
    "embeddings": "embedding",
    "invoke_agent": "agent",
    "create_agent": "agent",
    "execute_tool": "tool",
}


def identity_types(span: Span) -> Iterator[str]:
    """Texts, or the observation is dropped (legacy) or shows JSON; the resource is never read for them."""
    for key in IDENTITY:
        value = span.attributes.get(key, "-")
        if key == "langfuse.trace.tags" and key in span.attributes:
            tags = _texts(value)
            if not tags or not all(tags):
                yield f"{key}={value!r} is not a list of texts"
        elif key != "langfuse.trace.tags" and (not isinstance(value, str) or not value):
            yield f"{key}={value!r} is not a text"
        if key in span.resource and key not in span.attributes and key in ("session.id", "user.id"):
            yield f"{key} stands on the resource only"


def environment(span: Span) -> Iterator[str]:
    """Else it becomes `default`; a leading `langfuse` is cut off."""
    value = span.attributes.get("langfuse.environment", "ok")
    if not re.fullmatch(r"(?!langfuse)[a-z0-9_-]{1,40}", str(value)):
        yield f"langfuse.environment={value!r}"


def trace_name_length(span: Span) -> Iterator[str]:
    """Longer names drop the trace event (legacy)."""
    if len(str(span.attributes.get("langfuse.trace.name", ""))) > 1000:
        yield "langfuse.trace.name is longer than 1000 characters"


def no_trace_content(span: Span) -> Iterator[str]:
    """Discarded by the direct pipeline; the root observation's own content is the trace's."""
    for key in ("langfuse.trace.input", "langfuse.trace.output"):
        if key in span.attributes:
            yield f"{key} is discarded"


def own_name(span: Span) -> Iterator[str]:
    """These attributes rename the observation."""
    yield from (f"{key} renames the observation" for key in RENAMING_KEYS if key in span.attributes)


def level(span: Span) -> Iterator[str]:
    """An explicit level masks an ERROR status."""
    value = span.attributes.get("langfuse.observation.level")
    if value is not None and value not in LEVELS:
        yield f"langfuse.observation.level={value!r} is unknown"
    if span.status == "ERROR" and value not in (None, "ERROR"):
        yield f"langfuse.observation.level={value!r} masks the error"


def failure_text(span: Span) -> Iterator[str]:
    """`exception` events are not stored, so the status says what went wrong."""
    message = span.attributes.get("langfuse.observation.status_message", span.status_message)
    if not isinstance(message, str):
        yield f"status message {message!r} is not a text"
    if span.status == "ERROR" and not message:
        yield "an error without a description"
    if span.status == "ERROR" and not span.attributes.get("error.type"):
        yield "an error without error.type"


def prompt_link(span: Span) -> Iterator[str]:
    """A name without an int version, or the other way round, drops the observation (legacy)."""
    name = span.attributes.get("langfuse.observation.prompt.name")
    version = span.attributes.get("langfuse.observation.prompt.version")
    if (name is None) != (version is None) or (version is not None and type(version) is not int):
        yield f"prompt {name!r} with version {version!r}"


def observation(span: Span) -> Iterator[str]:
    """Lower-case, of the known ones; in agreement with the conventions' operation."""
    kind = span.attributes.get("langfuse.observation.type")
    if kind not in TYPES:
        yield f"langfuse.observation.type={kind!r}"
    expected = OPERATION_TYPES.get(str(span.attributes.get("gen_ai.operation.name")), kind)
    if kind != expected:
        yield f"langfuse.observation.type={kind!r} but gen_ai.operation.name says {expected!r}"


def root_flags(span: Span) -> Iterator[str]:
    """One flag for each pipeline: the legacy one compares with the text. Both or none, and both without a parent."""
    app_root, as_root = span.attributes.get(APP_ROOT), span.attributes.get(AS_ROOT)
    both = app_root in (True, "true") and as_root == "true"
    if not both and (app_root, as_root) != (None, None):
        yield f"root flags {app_root!r} and {as_root!r}"
    if span.parent_id is None and not both:
        yield "a root without the root flags"


def metadata(span: Span) -> Iterator[str]:
    """Scalars under keys of their own; three keys would replace the server's own objects."""
    for key, value in span.attributes.items():
        for prefix in ("langfuse.observation.metadata", "langfuse.trace.metadata"):
            if key == prefix and json_object(value) is None:
                yield f"{key} is not a JSON object"
            if key.startswith(f"{prefix}.") and key.removeprefix(f"{prefix}.") in (
                "",
                "attributes",
                "resourceAttributes",
                "scope",
            ):
                yield f"{key} hides what the server puts there"


def scope(span: Span) -> Iterator[str]:
    """Some scopes switch special decoding on; under `langfuse-sdk` further attributes are lost."""
    if not span.scope or span.scope in SPECIAL_SCOPES or span.scope.startswith("langfuse-sdk"):
        yield f"scope {span.scope!r}"


def attribute_count(span: Span) -> Iterator[str]:
    """Above OpenTelemetry's usual limit the oldest vanish."""
    if len(span.attributes) > 128:
        yield f"{len(span.attributes)} attributes"


def _texts(value: object) -> list[str] | None:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):  # pyright: ignore[reportUnknownVariableType]
        return value  # pyright: ignore[reportUnknownVariableType]
    return None


OBSERVATION_RULES: Final[Mapping[str, Callable[[Span], Iterator[str]]]] = {
    "2.identity": identity_types,
    "2.environment": environment,
    "2.trace-name": trace_name_length,
    "2.trace-content": no_trace_content,
    "2.name": own_name,
    "2.level": level,
    "2.failure": failure_text,
    "2.prompt": prompt_link,
    "3.type": observation,
    "3.root-flags": root_flags,
    "4.metadata": metadata,
    "4.scope": scope,
    "8.attributes": attribute_count,
}
