"""What an OTLP/HTTP endpoint says to a request without a single span: path, credentials, clock and size."""

from __future__ import annotations

import gzip
import os
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urljoin, urlsplit

from looopy_otel.cli.checks.check import Check, sooner
from looopy_otel.cli.checks.exchange import Answer, Silence, ask
from looopy_otel.core.endpoint import AUTHORIZATION, METRICS_PATH, TRACES_PATH, is_langfuse, url_problem
from looopy_otel.core.settings import HTTPDestination
from looopy_otel.export.deadline import remaining
from looopy_otel.export.verdict import masked, public_url, secrets_in

ASK_SECONDS: Final = 5.0
SIZE_SECONDS: Final = 6.0
LARGE_BODY: Final = 4 * 1024 * 1024
"""Bytes of the largest batch that is sent as a rule."""

CLOCK_TOLERANCE: Final = 5.0
"""Seconds that the two clocks may differ; backends put spans in order by time."""

GRPC_PORT: Final = 4317
_FIELD: Final = b"\x7a"  # number 15, with a length: unknown to the message, so that its readers skip it
_CLOUDS: Final = {
    "cloud.langfuse.com": "EU",
    "us.cloud.langfuse.com": "US",
    "jp.cloud.langfuse.com": "Japan",
    "hipaa.cloud.langfuse.com": "HIPAA",
}


@dataclass(frozen=True, slots=True)
class Route:
    """What is asked, and what it is set by.

    Attributes:
        destination: The endpoint.
        variables: The environment variables that headers were read from, as a text.
        path: The route that such an endpoint has.
    """

    destination: HTTPDestination
    variables: str
    path: str = TRACES_PATH

    @property
    def url_variable(self) -> str:
        """The environment variable that sets the URL."""
        if self.destination.name == "langfuse":
            return "LANGFUSE_BASE_URL"
        return "OTEL_EXPORTER_OTLP_" + ("METRICS" if self.path == METRICS_PATH else "TRACES") + "_ENDPOINT"

    def masked(self, text: str) -> str:
        """The text in one line, without the secrets of the headers."""
        line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
        return masked(line, secrets_in(self.destination.headers))


def check_endpoint(route: Route, deadline: float) -> Iterator[Check]:
    """Posts a request without spans, which stores nothing, and reads the answer; stops after what fails."""
    body = gzip.compress(b"", 1, mtime=0) if route.destination.gzip else b""
    answer = ask(route.destination, sooner(deadline, ASK_SECONDS), body=body)
    path = _path(route, answer, deadline)
    yield path
    if path.status == "failed" or isinstance(answer, Silence):
        return
    auth = _auth(route, answer)
    yield auth
    if auth.status == "failed":
        return
    yield _clock(answer)
    yield _size(route, deadline)


def _path(route: Route, answer: Answer | Silence, deadline: float) -> Check:
    if isinstance(answer, Silence):
        return _silent(route, answer)
    seen = f"{answer.status} {answer.kind or 'without a type'} ({answer.seconds * 1000:.0f} ms)"
    said = "" if "html" in answer.kind else route.masked(answer.body[:2000].decode("utf-8", errors="replace"))[:160]
    cause = _path_cause(route, answer, deadline)
    if cause:
        return Check("path", "failed", f"POST answers {seen}" + (f": {said}" if said else ""), cause)
    return Check("path", "ok", f"POST answers {seen}")


def _path_cause(route: Route, answer: Answer, deadline: float) -> str:
    """Why the answer is not that of an OTLP endpoint; empty where it is, also where it refuses the credentials."""
    status, url = answer.status, public_url(route.destination.endpoint)
    if 300 <= status < 400:
        return _redirect_cause(route, answer.headers.get("location", ""))
    if status in (401, 403) and "html" not in answer.kind:
        return ""
    if status == 407 or "proxy-authenticate" in answer.headers:
        return "a proxy asks for credentials: look at HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
    if "html" in answer.kind:
        by = f" (by {answer.headers['via']})" if "via" in answer.headers else ""
        what = "a login page or a proxy" if status in (200, 401, 403, 502, 503) else "a web page"
        return f"{what} answers{by}, no OTLP endpoint: {_where(route, deadline)}"
    if status in (404, 405):
        return f"nothing takes POST at {urlsplit(url).path or '/'}: {_where(route, deadline)}"
    return _status_cause(route, status)


def _redirect_cause(route: Route, location: str) -> str:
    try:
        target = public_url(urljoin(route.destination.endpoint, location))
    except ValueError:
        target = ""
    if not location or url_problem(target):
        return "it redirects, to what is no URL: no OTLP endpoint, or a proxy"
    target = route.masked(target)
    return f"it redirects to {target}, which is not followed with credentials: set {route.url_variable} to that"


def _status_cause(route: Route, status: int) -> str:
    causes = {
        400: "it cannot read an OTLP request: is this an OTLP receiver's route, and https:// where it has to be?",
        406: "it does not take OTLP over HTTP with protobuf",
        411: "a proxy before it wants a Content-Length",
        413: "it refuses even an empty request as too large: raise the body limit of the proxy before it",
        415: "it does not take OTLP over HTTP with protobuf: gRPC is at 4317, HTTP at 4318",
        429: "it asks to slow down: its rate limit is reached",
    }
    if 200 <= status < 300:
        return ""
    if status >= 500:
        return f"the backend is up but fails ({status}): look at its own log"
    return causes.get(status, f"it does not accept OTLP ({status})")


def _silent(route: Route, silence: Silence) -> Check:
    said = route.masked(silence.said)
    port = urlsplit(route.destination.endpoint).port
    grpc = f"this is the port of OTLP over gRPC: use http://…:4318, or set {route.url_variable} to the HTTP port"
    causes = {
        "timeout": "it takes the connection but does not answer: overloaded, stuck, or no HTTP server",
        "garbage": grpc
        if port == GRPC_PORT
        else "what answers is no HTTP/1.1: a gRPC port, or TLS behind an http:// URL",
        "proxy": "the proxy refuses: look at HTTP_PROXY, HTTPS_PROXY and NO_PROXY",
        "connection": "it breaks the connection off: "
        + (grpc if port == GRPC_PORT else "https:// instead of http://, a proxy, or no HTTP port?"),
    }
    return Check("path", "failed", said, causes[silence.reason])


def _where(route: Route, deadline: float) -> str:
    """What to set; asks the same host at the usual path, where that was left out."""
    parts = urlsplit(route.destination.endpoint)
    path = parts.path.rstrip("/")
    usual = f"an OTLP endpoint usually ends in {route.path}"
    if parts.path.endswith(route.path):
        langfuse = is_langfuse(route.destination.endpoint)
        what = " (is it really a Langfuse, version 3.22 or newer?)" if langfuse else ""
        return f"look at the host, the port and what stands before {route.path}{what}"
    better = parts._replace(path=path if path.endswith(route.path) else path + route.path).geturl()
    answer = ask(route.destination, sooner(deadline, ASK_SECONDS), url=better, body=b"")
    if isinstance(answer, Answer) and _may_take_otlp(answer):
        return (
            f"{public_url(better)} does: set {route.url_variable} to that, or OTEL_EXPORTER_OTLP_ENDPOINT to the base"
        )
    return usual


def _may_take_otlp(answer: Answer) -> bool:
    return (200 <= answer.status < 300 or answer.status in (401, 403)) and "html" not in answer.kind


def _auth(route: Route, answer: Answer) -> Check:
    destination = route.destination
    sent = AUTHORIZATION in {name.lower() for name in destination.headers}
    if answer.status in (401, 403):
        said = route.masked(answer.body[:2000].decode("utf-8", errors="replace"))[:160]
        detail = f"answers {answer.status}" + (f": {said}" if said else "")
        return Check("auth", "failed", detail, _auth_cause(route, answer.status, sent))
    if sent:
        return Check("auth", "ok", "the credentials are accepted")
    if destination.headers:
        return Check("auth", "ok", f"accepted, with {', '.join(sorted(destination.headers))}")
    return Check("auth", "ok", "accepted; no credentials are sent")


def _auth_cause(route: Route, status: int, sent: bool) -> str:
    destination = route.destination
    if not sent and not destination.headers:
        return f"no credentials are sent: set {route.variables}"
    if not is_langfuse(destination.endpoint):
        what = "are wrong or have expired" if status == 401 else "may not write here"
        return f"the credentials {what}: look at {route.variables}"
    return _langfuse_auth_cause(route, status)


def _langfuse_auth_cause(route: Route, status: int) -> str:
    value = next((v for name, v in route.destination.headers.items() if name.lower() == AUTHORIZATION), "")
    public, secret = langfuse_keys(value)
    if not public or not secret:
        return f"Langfuse takes Basic base64(public key:secret key): look at {route.variables}"
    if public.startswith("sk-") or secret.startswith("pk-"):
        return "the two keys are swapped: LANGFUSE_PUBLIC_KEY begins with pk-lf-, LANGFUSE_SECRET_KEY with sk-lf-"
    if any(key.strip("'\" ") != key for key in (public, secret)):
        return f"there are quotes or blanks around a key: look at {route.variables}"
    host = urlsplit(route.destination.endpoint).hostname or ""
    if host in _CLOUDS:
        others = ", ".join(f"{region} https://{name}" for name, region in _CLOUDS.items() if name != host)
        return (
            f"the keys are of no project in {_CLOUDS[host]}: look at {route.variables}; those of another region "
            f"need another LANGFUSE_BASE_URL ({others})"
        )
    if status == 403:
        return f"the keys may not write here (an organisation's keys, or ingestion is suspended): {route.variables}"
    return f"the keys are unknown to this Langfuse, or deleted: look at {route.variables} and LANGFUSE_BASE_URL"


def langfuse_keys(authorization: str) -> tuple[str, str]:
    """The public and the secret key in a Basic authorization header; empty texts where it is none."""
    scheme, _, token = authorization.partition(" ")
    try:
        public, _, secret = b64decode(token, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return (public, secret) if scheme.lower() == "basic" else ("", "")


def _clock(answer: Answer) -> Check:
    try:
        date = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return Check("clock", "skipped", "the answer has no Date header")
    # It was written somewhere between sending and receiving, and has whole seconds.
    skew = date.timestamp() + 0.5 - (answer.sent_at + answer.seconds / 2)
    apart = max(0.0, abs(skew) - 0.5 - answer.seconds / 2)
    if apart <= CLOCK_TOLERANCE:
        return Check("clock", "ok", f"this machine's clock and the backend's agree (within {CLOCK_TOLERANCE:g} s)")
    late = "behind" if skew > 0 else "ahead of"
    cause = "spans will stand at wrong times, and out of order beside those of other machines: set the clocks (NTP)"
    return Check("clock", "warning", f"this machine is {apart:.0f} s {late} the backend", cause)


def _size(route: Route, deadline: float) -> Check:
    started_with = remaining(deadline)
    padding = _padding(LARGE_BODY)
    body = gzip.compress(padding, 1, mtime=0) if route.destination.gzip else padding
    limit = sooner(deadline, SIZE_SECONDS)
    answer = ask(route.destination, limit, body=body)
    size = f"{len(body) / 1024 / 1024:.0f} MiB"
    if isinstance(answer, Answer) and 200 <= answer.status < 300:
        return Check("size", "ok", f"a body of {size} is taken ({answer.seconds * 1000:.0f} ms)")
    if isinstance(answer, Answer) and answer.status not in (413, 408, 429) and answer.status < 500:
        return Check("size", "skipped", f"not known: padding without spans is answered with {answer.status}")
    seen = f"is answered with {answer.status}" if isinstance(answer, Answer) else route.masked(answer.said)
    cause = (
        "large batches are refused and sent in pieces, and a span larger than the limit loses content: raise the body "
        "limit of the backend or of the proxy before it (nginx: client_max_body_size 16m)"
    )
    if isinstance(answer, Silence) and answer.reason == "timeout":
        cause = f"the way to the backend is slow: {size} took more than {min(SIZE_SECONDS, started_with):.0f} s"
    return Check("size", "warning", f"a body of {size}: {seen}", cause)


def _padding(size: int) -> bytes:
    """A valid export request of so many bytes that holds nothing but a field that its readers do not know."""
    length = size - 5
    return (
        _FIELD
        + bytes((length >> shift & 0x7F) | (0x80 if shift < 21 else 0) for shift in (0, 7, 14, 21))
        + os.urandom(length)
    )
