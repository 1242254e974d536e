"""From a URL to an open connection: name, port, certificate."""

from __future__ import annotations

import contextlib
import errno
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from ipaddress import ip_address
from socket import SOCK_STREAM, create_connection, getaddrinfo
from typing import Any, Final, cast
from urllib.parse import urlsplit

from looopy_otel.cli.checks.check import Check, milliseconds, sooner, within
from looopy_otel.core.settings import HTTPDestination
from looopy_otel.export.proxy import Proxy

DNS_SECONDS: Final = 3.0
TCP_SECONDS: Final = 3.0
TLS_SECONDS: Final = 4.0
EXPIRES_SOON_DAYS: Final = 14
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_DAY: Final = 86_400

# https://docs.openssl.org/3.0/man1/openssl-verification-options/#diagnostics
_CERTIFICATE_CAUSES: Final[Mapping[int, str]] = {
    9: "the certificate is not valid yet: is this machine's clock right?",
    10: "the certificate has expired: renew it at the backend, or look at this machine's clock",
    18: "the certificate is self-signed: set OTEL_EXPORTER_OTLP_CERTIFICATE to its file (or to that of your CA)",
    19: "the certificate's root is not trusted here: set OTEL_EXPORTER_OTLP_CERTIFICATE to the file of your CA",
    20: "the certificate's issuer is not known here: set OTEL_EXPORTER_OTLP_CERTIFICATE to the file of your CA, "
    "or have the backend send its intermediate certificates",
    62: "the certificate is another host's: use the host name that it was made for",
    64: "the certificate is not made for this address: use the host name that it was made for",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom this process really connects to.

    Attributes:
        host: Its name or address.
        port: Its TCP port.
        tls: True where TLS is spoken with it at once.
        proxy: The proxy that the environment names, where it is one.
    """

    host: str
    port: int
    tls: bool
    proxy: Proxy | None = None

    @classmethod
    def of(cls, url: str) -> Peer:
        """Reads it from a URL and from the environment.

        Raises:
            ValueError: If the environment names a proxy that is none.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        proxy = Proxy.of(parts.scheme, host)
        if proxy is not None:
            return cls(proxy.host, proxy.port, proxy.scheme == "https", proxy)
        return cls(host, parts.port or _DEFAULT_PORTS[parts.scheme], parts.scheme == "https")

    @property
    def title(self) -> str:
        """What it is called in a line."""
        return f"{'the proxy ' if self.proxy else ''}{self.host}:{self.port}"


def check_network(destination: HTTPDestination, deadline: float) -> Iterator[Check]:
    """Looks the name up, connects, and shakes hands; stops after what fails.

    Args:
        destination: The endpoint.
        deadline: A value of `time.monotonic`.
    """
    try:
        peer = Peer.of(destination.endpoint)
    except ValueError as error:
        yield Check("address", "failed", "no proxy to go through", str(error))
        return
    if peer.proxy is not None and peer.proxy.speaks_socks and find_spec("socksio") is None:
        cause = f"{peer.proxy.variable} names a SOCKS proxy, which needs a package: pip install socksio"
        yield Check("address", "failed", f"{peer.title} speaks SOCKS", cause)
        return
    address = _address(peer, deadline)
    yield address
    if address.status == "failed":
        return
    connection = _tcp(peer, deadline)
    yield connection
    if connection.status == "failed":
        return
    problem = _trust_problem(destination.certificate)
    if problem is not None:
        yield problem
    elif peer.proxy:
        yield Check("tls", "skipped", "it is the proxy that connects to the endpoint; see the next line")
    elif peer.tls:
        yield _tls(peer, destination.certificate, deadline)
    else:
        yield Check("tls", "skipped", f"not encrypted: an http:// URL{_exposed(peer, destination)}")


def _exposed(peer: Peer, destination: HTTPDestination) -> str:
    try:
        local = ip_address(peer.host).is_private
    except ValueError:
        local = "." not in peer.host or peer.host.endswith((".local", ".internal", ".svc"))
    return "" if local or not destination.headers else "; the credentials cross the network in the clear"


def _address(peer: Peer, deadline: float) -> Check:
    with contextlib.suppress(ValueError):
        return Check("address", "ok", f"{ip_address(peer.host)}, no name to look up")
    found: list[Any] = []
    problems: list[str] = []

    def look_up() -> None:
        try:
            found.extend(getaddrinfo(peer.host, peer.port, type=SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            problems.append(getattr(error, "strerror", None) or str(error))

    started = time.monotonic()
    if not within(sooner(deadline, DNS_SECONDS), look_up):
        cause = "the name server does not answer: is this machine on the network?"
        return Check("address", "failed", f"{peer.host}: no answer in {DNS_SECONDS:g} s", cause)
    if problems:
        cause = f"there is no host {peer.host!r} as seen from here: look at the URL's spelling, or at DNS and VPN"
        cause += _named(peer)
        return Check("address", "failed", f"{peer.host}: {problems[0]}", cause)
    addresses = ", ".join(dict.fromkeys(str(entry[4][0]) for entry in found))
    return Check("address", "ok", f"{peer.host} is {addresses} ({milliseconds(started)})")


def _tcp(peer: Peer, deadline: float) -> Check:
    started = time.monotonic()
    problems: list[OSError] = []

    def connect() -> None:
        # Tries each address in turn, as the HTTP client does.
        try:
            create_connection((peer.host, peer.port), timeout=TCP_SECONDS).close()
        except OSError as error:
            problems.append(error)

    if not within(sooner(deadline, TCP_SECONDS), connect) or (problems and isinstance(problems[0], TimeoutError)):
        cause = f"no answer from {peer.title}: a firewall, a wrong port, or the host is down" + _named(peer)
        return Check("tcp", "failed", f"{peer.title}: no answer in {TCP_SECONDS:g} s", cause)
    if not problems:
        return Check("tcp", "ok", f"connected to {peer.title} ({milliseconds(started)})")
    error = problems[0]
    said = error.strerror or str(error)
    if peer.proxy is not None:
        cause = f"{peer.title} cannot be reached: start it, or look at {peer.proxy.variable} and NO_PROXY"
    elif error.errno == errno.ECONNREFUSED:
        cause = f"nothing listens at {peer.title}: start the backend, or correct the port" + (
            "" if peer.port in (80, 443, 4318) else " (collectors take OTLP over HTTP at 4318)"
        )
    else:
        cause = f"{peer.title} cannot be reached from here: {said}"
    return Check("tcp", "failed", f"{peer.title}: {said}", cause)


def _tls(peer: Peer, authority: str | None, deadline: float) -> Check:
    started = time.monotonic()
    results: list[Check] = []

    def shake() -> None:
        results.append(_shaken(peer, authority, started))

    if not within(sooner(deadline, TLS_SECONDS), shake):
        cause = f"{peer.title} does not answer to TLS: does it speak http:// only, or does something hold it up?"
        return Check("tls", "failed", f"no handshake in {TLS_SECONDS:g} s", cause)
    return results[0]


def _shaken(peer: Peer, authority: str | None, started: float) -> Check:
    from looopy_otel.export.bounded_network import trust

    try:
        with (
            create_connection((peer.host, peer.port), timeout=TLS_SECONDS) as plain,
            trust(authority).wrap_socket(plain, server_hostname=peer.host) as secured,
        ):
            certificate = cast("Mapping[str, Any]", secured.getpeercert() or {})
            version = secured.version() or "TLS"
    except ssl.SSLCertVerificationError as error:
        cause = _CERTIFICATE_CAUSES.get(error.verify_code, "the certificate cannot be trusted")
        return Check("tls", "failed", f"certificate refused: {error.verify_message.rstrip('.')}", cause)
    except ssl.SSLError as error:
        if "WRONG_VERSION_NUMBER" in str(error) or "RECORD_LAYER_FAILURE" in str(error):
            cause = f"{peer.title} does not speak TLS: http:// instead of https://?"
            return Check("tls", "failed", "the answer is not TLS", cause)
        return Check("tls", "failed", f"{error.reason or error}", f"{peer.title} and this machine agree on no TLS")
    except OSError as error:
        said = error.strerror or str(error) or type(error).__name__
        return Check("tls", "failed", said, f"{peer.title} breaks off the handshake: is it a TLS port?")
    return _trusted(certificate, version, started)


def _trust_problem(authority: str | None) -> Check | None:
    """What keeps the CA bundle from being read; without it nothing is sent, to an http:// URL either."""
    from looopy_otel.export.bounded_network import trust

    variable = "OTEL_EXPORTER_OTLP_CERTIFICATE" if authority else "SSL_CERT_FILE"
    try:
        trust(authority)
    except ssl.SSLError as error:
        cause = f"{variable} names a file without certificates in PEM form: correct it, or unset it"
        return Check("tls", "failed", f"no CA bundle: {error.reason or error}", cause)
    except OSError as error:
        cause = f"{variable} names a file that cannot be read: correct it, or unset it"
        return Check("tls", "failed", f"no CA bundle: {error.strerror or error}", cause)
    return None


def _named(peer: Peer) -> str:
    """Where a proxy comes from."""
    return "" if peer.proxy is None else f" (it is named by {peer.proxy.variable})"


def _trusted(certificate: Mapping[str, Any], version: str, started: float) -> Check:
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    days = int((ends - time.time()) // _DAY)
    until = f"valid until {datetime.fromtimestamp(ends, UTC):%Y-%m-%d} ({days} days)"
    detail = f"{version}, certificate {until} ({milliseconds(started)})"
    if days < EXPIRES_SOON_DAYS:
        return Check("tls", "warning", detail, f"the backend's certificate expires in {days} days: renew it")
    return Check("tls", "ok", detail)
