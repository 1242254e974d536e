"""The gate: one place that all content passes before it goes to a disk or on a wire. It fails closed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

import orjson

from looopy_otel.core.draft import AgentDraft, Draft, Failure, LLMDraft, Shape
from looopy_otel.core.guard import guard
from looopy_otel.core.identity import Identity
from looopy_otel.core.semconv import CONTENT_KEYS, CONTENT_PREFIXES
from looopy_otel.core.settings import Capture
from looopy_otel.core.types import Json
from looopy_otel.privacy.keys import holds_secret, is_secret_name
from looopy_otel.privacy.patterns import marker, redact_text

_T = TypeVar("_T")

SECRET = marker("secret")
CONTENT = marker("content")
"""What stands in the place of text that is not recorded."""
FAILED = marker("redaction-failed")
"""What stands in the place of text that could not be redacted."""

_LONGEST_FACT = 256
_WORD = re.compile(r"[\w.:-]{1,64}")


class Gate:
    """Lets through what may be recorded.

    ``full`` lets everything pass unchanged. ``redacted`` replaces secrets by typed markers in every text of every
    structure, and whatever stands under a name such as ``api_key``. ``metadata`` lets no content pass: of a draft
    only shapes, names, numbers and the types of errors remain, of metadata and parameters the scalars (redacted), of
    foreign attributes what is not known to be content and short.

    A redactor that raises leaves `FAILED` in the place of the value, never the value; the fault is counted.

    Args:
        capture: What is recorded of content.
        redact: Redacts one text; must not depend on anything else.
    """

    def __init__(self, capture: Capture, *, redact: Callable[[str], str] = redact_text) -> None:
        self._capture = capture
        self._redact = redact

    def draft(self, draft: Draft) -> Draft:
        """Gives the draft as it may be recorded."""
        if self._capture == "full":
            return draft
        passed = self._without_content(draft) if self._capture == "metadata" else self._redacted(draft)
        identity, error = draft.identity, draft.error
        if error is not None:
            text = error.type if self._capture == "metadata" else self.text(error.message)
            error = Failure(type=error.type, message=text)
        passed = replace(passed, identity=self._identity(identity), metadata=self._facts(draft.metadata), error=error)
        if isinstance(passed, LLMDraft):
            headers = {name: str(value) for name, value in self._facts(passed.response_headers).items()}
            return replace(passed, parameters=self._facts(passed.parameters), response_headers=headers)
        if isinstance(passed, AgentDraft) and passed.reason is not None:
            return replace(passed, reason=self._reason(passed.reason))
        return passed

    def attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Gives span attributes (or an event's) as they may be recorded; for spans that we did not make, above all."""
        if self._capture == "full":
            return dict(attributes)
        if self._capture == "redacted":
            return {key: self._closed(key, value) for key, value in attributes.items()}
        kept = {key: value for key, value in attributes.items() if not _is_content(key)}
        return {key: self._closed(key, _fact(value)) for key, value in kept.items()}

    def text(self, text: str) -> str:
        """Gives free text, such as a status description, as it may be recorded.

        In ``metadata`` one word, such as an error's type, passes (redacted); anything longer is content.
        """
        if self._capture == "metadata" and text and not _WORD.fullmatch(text):
            return CONTENT
        return self.name(text)

    def name(self, name: str) -> str:
        """Gives a span's or an event's name, which is no content but may hold a secret, as it may be recorded."""
        if self._capture == "full":
            return name
        return self._failing(lambda: self._redact(name), FAILED)

    def _redacted(self, draft: Draft) -> Draft:
        passed = replace(draft, input=self._value(draft.input), output=self._value(draft.output))
        return replace(passed, tools=self._value(passed.tools)) if isinstance(passed, LLMDraft) else passed

    def _without_content(self, draft: Draft) -> Draft:
        passed = replace(
            draft,
            input=None,
            output=None,
            input_shape=draft.input_shape or shape_of(draft.input),
            output_shape=draft.output_shape or shape_of(draft.output),
        )
        return replace(passed, tools=None) if isinstance(passed, LLMDraft) else passed

    def _identity(self, identity: Identity) -> Identity:
        redact = self._redact

        def passed() -> Identity:
            return replace(
                identity,
                tags=tuple(redact(tag) for tag in identity.tags),
                trace_name=identity.trace_name and redact(identity.trace_name),
            )

        unnamed = replace(identity, tags=(), trace_name=None)
        return replace(self._failing(passed, unnamed), metadata=self._facts(identity.metadata))

    def _facts(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        if self._capture == "metadata":
            facts = {key: value for key, value in facts.items() if isinstance(value, str | bool | int | float)}
        passed: dict[str, Any] = {}
        for key, value in facts.items():
            passed[_free(self._value(key), passed)] = self._closed(key, value)
        return passed

    def _reason(self, reason: str) -> str | None:
        """In ``metadata`` a reason is kept when it is a word of ours, such as ``max_iterations``, and no message."""
        if self._capture == "metadata" and not _WORD.fullmatch(reason):
            return None
        return self.text(reason)

    def _closed(self, key: str, value: Any) -> Any:
        if is_secret_name(key) and holds_secret(value):
            return SECRET
        return self._value(value)

    def _value(self, value: Any) -> Any:
        return self._failing(lambda: _walk(value, self._redact), FAILED)

    def _failing(self, work: Callable[[], _T], closed: _T) -> _T:
        with guard("privacy.gate"):
            return work()
        return closed


def _walk(value: Any, redact: Callable[[str], str]) -> Any:
    match value:
        case str():
            return redact(value)
        case dict():
            return _walk_object(cast("dict[Any, Any]", value), redact)
        case list():
            return [_walk(item, redact) for item in cast("list[Any]", value)]
        case tuple():
            return tuple(_walk(item, redact) for item in cast("tuple[Any, ...]", value))
        case bytes():
            return redact(value.decode("utf-8", "replace"))
        case _:
            return value


def _walk_object(value: dict[Any, Any], redact: Callable[[str], str]) -> dict[Any, Any]:
    walked: dict[Any, Any] = {}
    for key, item in value.items():
        name = redact(key) if isinstance(key, str) else key
        secret = isinstance(key, str) and is_secret_name(key) and holds_secret(item)
        walked[_free(name, walked)] = SECRET if secret else _walk(item, redact)
    return walked


def _free(name: Any, taken: dict[Any, Any]) -> Any:
    """Two keys that were secrets end as one marker; the later one is numbered, so that no entry is lost."""
    if name not in taken:
        return name
    number = 2
    while f"{name} {number}" in taken:
        number += 1
    return f"{name} {number}"


def _is_content(key: str) -> bool:
    return key in CONTENT_KEYS or key.startswith(CONTENT_PREFIXES)


def _fact(value: Any) -> Any:
    match value:
        case str() if len(value) > _LONGEST_FACT:
            return CONTENT
        case list() | tuple():
            return [_fact(item) for item in cast("list[Any]", value)]
        case None | str() | bool() | int() | float():
            return value
        case _:
            return CONTENT


def shape_of(content: Json) -> Shape | None:
    """Says how large content is and whose messages it holds; None for no content."""
    if content is None:
        return None
    size = len(content.encode("utf-8", "replace")) if isinstance(content, str) else _json_bytes(content)
    messages = cast("list[Any]", content) if isinstance(content, list) else []
    roles = [cast("dict[str, Any]", message).get("role") for message in messages if isinstance(message, dict)]
    return Shape(bytes=size, roles=tuple(role for role in roles if isinstance(role, str)))


def _json_bytes(content: Json) -> int:
    try:
        return len(orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS))
    except TypeError:
        return len(str(content))
