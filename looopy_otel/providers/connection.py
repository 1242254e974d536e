"""What a failed connection is called."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import cast

import httpx

from looopy_otel.providers.errors import CONNECTION_HINT, LiteLLMConnectionError, Origin

TLS_HINT = "Check the scheme of base_url and the server's certificate; http_client= takes a client with your own trust."


def connection_error(error: httpx.HTTPError, address: str, origin: Origin) -> LiteLLMConnectionError:
    """The error of a request that got no response, or only a part of one.

    Args:
        error: What httpx raised.
        address: Host and port of the endpoint.
        origin: What the response said of the call, as far as one began.
    """
    name, hint = _name(error)
    detail = str(error)
    text = f"LiteLLM API error: {name} ({address})" + (f": {detail}" if detail and name not in _PLAIN else "")
    return LiteLLMConnectionError(text, hint=hint, **origin)


_PLAIN = {"ECONNREFUSED"}
"""Names that say it all."""


def _name(error: httpx.HTTPError) -> tuple[str, str]:
    for cause in _causes(error, set()):
        if isinstance(cause, ssl.SSLError):
            return f"TLS {cause.reason or 'failure'}", TLS_HINT
        if isinstance(cause, socket.gaierror):
            return "ENOTFOUND", CONNECTION_HINT
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
            return errno.errorcode[cause.errno], CONNECTION_HINT
    if isinstance(error, httpx.RemoteProtocolError | httpx.NetworkError):
        return "ECONNRESET", CONNECTION_HINT
    return type(error).__name__, CONNECTION_HINT


def _causes(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    """The exceptions behind one, depth first; anyio groups those of several addresses."""
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    if isinstance(error, BaseExceptionGroup):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _causes(member, seen)
    for cause in (error.__cause__, error.__context__):
        if cause is not None:
            yield from _causes(cause, seen)
