"""The gate: one place that all content passes before it goes to a disk or on a wire. It fails closed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass, replace
from typing import Any, TypeVar, cast

import orjson

from looopy_otel.core.draft import Draft
from looopy_otel.core.guard import guard
from looopy_otel.core.secrets import FAILED, marker, redact_text
from looopy_otel.core.settings import Capture
from looopy_otel.privacy.facts import CONTENT, fact, is_content, looks_like_name, without_content
from looopy_otel.privacy.fields import free_fields
from looopy_otel.privacy.keys import holds_secret, is_secret_name

_T = TypeVar("_T")

SECRET = marker("secret")

_CONTENT_FIELDS = frozenset({"input", "output", "tools"})
"""What fails as a whole: one part of a conversation that cannot be redacted takes the rest with it."""


class Gate:
    """Lets through what may be recorded.

    ``full`` lets everything pass unchanged. ``redacted`` replaces secrets by typed markers in every text of every
    structure and in every name, and whatever stands under a key such as ``api_key``. ``metadata`` lets no content
    pass: of a draft only shapes, names, numbers and the types of errors remain, of metadata the scalars, of parameters
    the settings, of foreign attributes what is short and neither a structure nor known to be content; all redacted.

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
        return self._record(without_content(draft) if self._capture == "metadata" else draft)

    def attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Gives span attributes (or an event's) as they may be recorded; for spans that we did not make, above all."""
        if self._capture == "full":
            return dict(attributes)
        if self._capture == "metadata":
            attributes = {key: fact(value) for key, value in attributes.items() if not is_content(key)}
        return self._facts(attributes)

    def text(self, text: str) -> str:
        """Gives free text, such as a status description, as it may be recorded.

        In ``metadata`` one word, such as an error's type, passes (redacted); anything longer is content.
        """
        if self._capture == "metadata" and text and not looks_like_name(text):
            return CONTENT
        return self.name(text)

    def name(self, name: str) -> str:
        """Gives a span's or an event's name, which is no content but may hold a secret, as it may be recorded."""
        if self._capture == "full":
            return name
        return self._failing(lambda: self._redact(name), FAILED)

    def _record(self, record: _T) -> _T:
        values = {name: getattr(record, name) for name in free_fields(type(record))}
        passed = {
            name: self._value(value) if name in _CONTENT_FIELDS else self._field(value)
            for name, value in values.items()
        }
        return cast("_T", replace(cast("Any", record), **passed))

    def _field(self, value: Any) -> Any:
        match value:
            case None:
                return None
            case str():
                return self.name(value)
            case tuple():
                return tuple(self._field(item) for item in cast("tuple[Any, ...]", value))
            case Mapping():
                return self._facts(cast("Mapping[str, Any]", value))
            case _ if is_dataclass(value) and not isinstance(value, type):
                return self._record(value)
            case _:
                return self._value(value)

    def _facts(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        passed: dict[str, Any] = {}
        for key, value in facts.items():
            passed[_free(self.name(key), passed)] = self._closed(key, value)
        return passed

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
            return redact(_walked_json(value, redact))
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


def _walked_json(text: str, redact: Callable[[str], str]) -> str:
    """Text that is a JSON object or array, as tool results in prompts are: a secret's name hides what is under it."""
    if text[:1] not in ("{", "["):
        return text
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    walked = _walk(value, redact)
    return text if walked == value else orjson.dumps(walked).decode()


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
