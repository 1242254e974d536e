"""The options of the LiteLLM provider: validated, frozen, and without a secret in any text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypedDict, cast
from urllib.parse import SplitResult, urlsplit, urlunsplit

import httpx
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, Strict, ValidationError

from looopy_otel.providers.errors import LiteLLMConfigError

COMPLETIONS_PATH = "/chat/completions"
DECIDED_BY_THE_CALL = frozenset({"messages", "stream"})
"""What `extra_params` may not hold: the form of the call decides it."""

_SECRET_NAME = re.compile(r"key|secret|password|credential|authorization|headers?$|(^|_)token$|_token_", re.IGNORECASE)
_VERSIONED = re.compile(r"/v\d+\w*(/openai)?$")

ALLOWED = {
    "base_url": "an http:// or https:// URL of the proxy with a valid host name, with or without /v1, without query "
    "and credentials",
    "model": "a text that is not empty, and no mere prefix such as 'ollama/'",
    "api_key": "a text of printable ASCII without spaces, or None",
    "temperature": "a number from 0 to 2, or None to send none",
    "max_tokens": "an integer of at least 1, or None to send none",
    "top_p": "a number above 0 and up to 1, or None to send none",
    "timeout": "seconds, a finite number above 0",
    "extra_params": "a mapping from parameter names to values, without 'messages' and 'stream'; its 'metadata' and "
    "'stream_options', if any, are mappings",
    "max_retries": "an integer of at least 0",
    "debug_log_path": "a path, or None",
}
ALLOWED_BESIDE = {
    "http_client": "an httpx.AsyncClient or an httpx.Client, or what has the methods of one, or None",
    "middleware": "a sequence of callables",
}


class OptionChanges(TypedDict, total=False):
    """The options that `LiteLLMProvider.update_config` takes; see `LiteLLMOptions`."""

    base_url: str
    model: str
    api_key: str | SecretStr | None
    temperature: float | None
    max_tokens: int | None
    top_p: float | None
    timeout: float
    extra_params: Mapping[str, Any] | None
    max_retries: int
    debug_log_path: str | Path | None


def is_secret_name(name: str) -> bool:
    """True for a parameter whose name says that its value is a secret, such as ``api_key`` or ``extra_headers``."""
    return _SECRET_NAME.search(name) is not None


def _base_url(value: str) -> str:
    parts = urlsplit(value.strip())
    _ = parts.port  # raises ValueError where it is not a number up to 65535
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", value.strip()):
        raise ValueError("not an http URL")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("query, fragment or credentials")
    try:
        _ = httpx.URL(value.strip()).host
    except httpx.InvalidURL as error:
        raise ValueError("not a host name") from error
    return urlunsplit(parts._replace(path=parts.path.rstrip("/").removesuffix(COMPLETIONS_PATH).rstrip("/")))


def _model(value: str) -> str:
    name = value.strip()
    if not name or name.endswith("/"):
        raise ValueError("no name")
    return name


def _api_key(value: SecretStr | None) -> SecretStr | None:
    text = value.get_secret_value().strip() if value is not None else ""
    if not all("!" <= character <= "~" for character in text):
        raise ValueError("not printable ASCII")
    return SecretStr(text) if text else None


def _extra_params(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if DECIDED_BY_THE_CALL & value.keys():
        raise ValueError("messages or stream")
    if not all(isinstance(value.get(name) or {}, Mapping) for name in ("metadata", "stream_options")):
        raise ValueError("not a mapping")
    return dict(value)


def _empty_for_none(value: object) -> object:
    return {} if value is None else value


class LiteLLMOptions(BaseModel):
    """What a `LiteLLMProvider` is made of. Frozen; `LiteLLMProvider.update_config` puts another in its place.

    Attributes:
        base_url: The proxy's URL, with or without ``/v1``; a path prefix is kept.
        model: The model's name, as the proxy knows it.
        api_key: The proxy's key; in no text that this library makes.
        temperature: 0 to 2, or None to send none.
        max_tokens: At least 1, or None to send none.
        top_p: Above 0 and up to 1, or None to send none.
        timeout: Seconds for the whole call; for a stream, to the first chunk, then between chunks.
        extra_params: Further fields of the request body; they win over the options.
        max_retries: Further tries after a failed connection or a status 408, 429 or 5xx, within the timeout.
        debug_log_path: A file that gets the raw chunks and the events of every call, as JSON lines.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: Annotated[str, AfterValidator(_base_url)]
    model: Annotated[str, AfterValidator(_model)]
    api_key: Annotated[SecretStr | None, AfterValidator(_api_key)] = None
    temperature: Annotated[float, Strict(), Field(ge=0, le=2, allow_inf_nan=False)] | None = 0.7
    max_tokens: Annotated[int, Strict(), Field(ge=1)] | None = 4096
    top_p: Annotated[float, Strict(), Field(gt=0, le=1, allow_inf_nan=False)] | None = 1.0
    timeout: Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)] = 60.0
    extra_params: Annotated[Mapping[str, Any], BeforeValidator(_empty_for_none), AfterValidator(_extra_params)] = Field(
        default_factory=dict[str, Any], repr=False
    )
    max_retries: Annotated[int, Strict(), Field(ge=0)] = 0
    debug_log_path: Path | None = None

    @property
    def key(self) -> str | None:
        """The key in clear."""
        return None if self.api_key is None else self.api_key.get_secret_value()

    @property
    def requested_model(self) -> str:
        """The model that is asked for: that of `extra_params`, where it names one."""
        named = self.extra_params.get("model")
        return named if isinstance(named, str) and named else self.model

    @property
    def endpoint(self) -> SplitResult:
        """The URL of chat completions."""
        parts = urlsplit(self.base_url)
        version = "" if _VERSIONED.search(parts.path) else "/v1"
        return parts._replace(path=parts.path + version + COMPLETIONS_PATH)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that must appear nowhere: the key, and what stands in `extra_params` under a name that says so."""
        hidden = _texts_under_secret_names(_without(self.extra_params, _SCHEMAS))
        return tuple(dict.fromkeys(filter(None, [self.key, *hidden])))

    @property
    def parameters(self) -> dict[str, Any]:
        """What steers the model, as sent; None is not sent."""
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens, "top_p": self.top_p}
        apart = _MERGED | _BESIDE_PARAMETERS
        extra = {name: value for name, value in self.extra_params.items() if name not in apart | self._secret_names}
        return {name: value for name, value in {**own, **extra}.items() if value is not None}

    @property
    def body_fields(self) -> dict[str, Any]:
        """The fields of `extra_params` that stand in the request's body as they are, but are no `parameters`."""
        names = (_BESIDE_PARAMETERS | self._secret_names) - _MERGED
        return {name: value for name, value in self.extra_params.items() if name in names}

    @property
    def _secret_names(self) -> set[str]:
        """The fields that are a secret, or hold one."""
        fields = _without(self.extra_params, _SCHEMAS)
        return {name for name, value in fields.items() if is_secret_name(name) or any(_texts_under_secret_names(value))}


_MERGED = frozenset({"model", "metadata", "stream_options"})
"""What `extra_params` may hold and the request takes apart."""

_BESIDE_PARAMETERS = frozenset({"tools", "tool_choice", "response_format"})


_SCHEMAS = frozenset({"tools", "functions", "response_format"})
"""What describes data: a property that is called ``password`` there is none."""


def options_from(values: Mapping[str, Any], **others: bool) -> LiteLLMOptions:
    """Validates options.

    Args:
        values: The options by name.
        **others: The provider's other arguments, by name: True for one that is right.

    Raises:
        LiteLLMConfigError: Naming every wrong option and what is allowed.
    """
    problems = [f"{name}: must be {ALLOWED_BESIDE[name]}" for name, right in others.items() if not right]
    try:
        options = LiteLLMOptions.model_validate(dict(values))
    except ValidationError as error:
        names = dict.fromkeys(str(one["loc"][0]) if one["loc"] else "options" for one in error.errors())
        problems = [*(_problem(name, values) for name in names), *problems]
    else:
        if not problems:
            return options
    raise LiteLLMConfigError("; ".join(problems))


def changed(options: LiteLLMOptions, changes: Mapping[str, Any]) -> LiteLLMOptions:
    """Validates options with some of them changed.

    Raises:
        LiteLLMConfigError: Naming every wrong option and what is allowed.
    """
    current = {name: getattr(options, name) for name in LiteLLMOptions.model_fields}
    return options_from({**current, **changes})


def _problem(name: str, values: Mapping[str, Any]) -> str:
    if name not in ALLOWED:
        near = difflib.get_close_matches(name, ALLOWED, n=1)
        return f"{name}: there is no such option" + (f"; did you mean {near[0]}?" if near else "")
    if name not in values:
        return f"{name} is missing: must be {ALLOWED[name]}"
    shown = "" if name in ("api_key", "extra_params") else f"={_shown_value(name, values[name])}"
    return f"{name}{shown}: must be {ALLOWED[name]}"


def _shown_value(name: str, value: object) -> str:
    if name == "base_url" and isinstance(value, str):
        address, separator, _ = value.partition("?")
        value = re.sub(r"//[^/@]*@", "//***@", address) + (separator and "?…")
    return repr(value)[:100]


def _without(fields: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _texts_under_secret_names(value: object) -> Iterator[str]:
    """The texts that stand, at any depth, under a name that says that they are secret."""
    if isinstance(value, Mapping):
        for name, item in cast("Mapping[object, object]", value).items():
            secret = isinstance(name, str) and is_secret_name(name)
            yield from _texts_in(item) if secret else _texts_under_secret_names(item)
    elif isinstance(value, list | tuple):
        for item in cast("list[object]", value):
            yield from _texts_under_secret_names(item)


def _texts_in(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for item in cast("Mapping[str, object]", value).values() for text in _texts_in(item)]
    if isinstance(value, list | tuple):
        return [text for item in cast("list[object]", value) for text in _texts_in(item)]
    return []
