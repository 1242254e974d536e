"""URLs of OTLP/HTTP endpoints: whether they can be one, what their secrets are, and when two are the same place."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

TRACES_PATH = "/v1/traces"
METRICS_PATH = "/v1/metrics"
LANGFUSE_OTLP_PATH = "/api/public/otel"
AUTHORIZATION = "authorization"

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def url_problem(url: str) -> str | None:
    """Says what keeps `url` from being an endpoint, or None."""
    parts = _split(url)
    if parts is None and _has_wrong_port(url):
        return "its port must be a number from 1 to 65535"
    if parts is None or parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return "must be an http:// or https:// URL"
    if any(character.isspace() for character in url):
        return "has a blank in it"
    return None


def header_problem(name: str, value: object) -> str | None:
    """Says what keeps a header from being sent, without showing its value; or None."""
    if not _HEADER_NAME.fullmatch(name):
        return f"{name!r} is not a header's name"
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        return f"the value of {name!r} must be text of one line, in Latin-1"
    return None


def with_traces_path(endpoint: str) -> str:
    """The URL of the traces route under a base URL; one that has the route already stays as it is."""
    parts = _split(endpoint)
    if parts is None:
        return endpoint
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith(TRACES_PATH) else path + TRACES_PATH))


def with_metrics_path(endpoint: str) -> str:
    """The URL of the metrics route under a base URL; that of the traces route tells the base as well."""
    parts = _split(endpoint)
    if parts is None:
        return endpoint
    path = parts.path.rstrip("/").removesuffix(TRACES_PATH)
    return urlunsplit(parts._replace(path=path if path.endswith(METRICS_PATH) else path + METRICS_PATH))


def is_grpc_port(endpoint: str) -> bool:
    """True for a URL at the port where collectors take OTLP over gRPC, and no HTTP."""
    parts = _split(endpoint)
    return parts is not None and parts.port == 4317


def is_langfuse(endpoint: str) -> bool:
    """True for a URL under Langfuse's OTLP route."""
    parts = _split(endpoint)
    return parts is not None and LANGFUSE_OTLP_PATH in parts.path


def langfuse_project(endpoint: str, headers: Mapping[str, str]) -> str | None:
    """The public key of the Langfuse project that a destination feeds; None for other places, and where it is unknown.

    Args:
        endpoint: The URL of its traces route.
        headers: Sent with every request; Langfuse takes ``Basic`` with the two keys.
    """
    sent = next((value for name, value in headers.items() if name.lower() == AUTHORIZATION), "")
    scheme, _, credentials = sent.partition(" ")
    if scheme.lower() != "basic" or not is_langfuse(endpoint):
        return None
    try:
        return b64decode(credentials).decode().partition(":")[0] or None
    except ValueError:
        return None


def credentials_moved(endpoint: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Moves ``user:password@`` from a URL to a Basic authorization header, where it is treated as the secret it is.

    Returns:
        The URL without credentials, and the headers with them; a header that is there already wins.
    """
    parts = urlsplit(endpoint)
    if parts.username is None:
        return endpoint, dict(headers)
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    basic = f"Basic {b64encode(pair.encode()).decode()}"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), {AUTHORIZATION: basic, **headers}


def same_place_key(endpoint: str, headers: Mapping[str, str]) -> tuple[object, ...]:
    """Equal for endpoints that are the same host, path and project, however they are written."""
    parts = urlsplit(endpoint)
    scheme, _, credentials = headers.get(AUTHORIZATION, "").partition(" ")
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return (parts.scheme, parts.hostname, port, parts.path, scheme.lower(), credentials.strip())


def _has_wrong_port(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    try:
        return parts.port == 0
    except ValueError:
        return True


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        # Looking at the port is what checks it.
        return parts if parts.port != 0 else None
    except ValueError:
        return None
