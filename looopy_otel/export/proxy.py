"""The proxy that the environment names for an endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy.

    Attributes:
        variable: The environment variable that names it.
        scheme: ``http``, ``https``, ``socks5`` or ``socks5h``.
        host: Its name or address.
        port: Its TCP port.
        credentials: User and password, or None.
    """

    variable: str
    scheme: str
    host: str
    port: int
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its URL, without the credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def speaks_socks(self) -> bool:
        """True where it speaks SOCKS."""
        return self.scheme.startswith("socks")

    @classmethod
    def of(cls, scheme: str, host: str) -> Proxy | None:
        """Reads ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``; None where nothing stands between.

        Args:
            scheme: Of the endpoint, ``http`` or ``https``.
            host: Of the endpoint.

        Raises:
            ValueError: If what is said is no proxy's URL. The message does not show it: it may hold a password.
        """
        proxies = getproxies()
        name = scheme if proxies.get(scheme) else "all"
        said = proxies.get(name)
        if not said or proxy_bypass(host):
            return None
        variable = f"{name.upper()}_PROXY"
        parts = _parts(said)
        if parts is None:
            raise ValueError(
                f"{variable} names no proxy: it must be like http://host:port (or https, socks5), with user and "
                "password percent-encoded"
            )
        user = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
        return cls(variable, parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme], user)


def _parts(said: str) -> SplitResult | None:
    """The parts of a proxy's URL; None where it is none."""
    try:
        parts = urlsplit(said if "://" in said else f"http://{said}")
        # Looking at the port is what checks it.
        known = parts.scheme in _DEFAULT_PORTS and parts.hostname and parts.port != 0
        # A password's own / ? or # has ended the host too early.
        return parts if known and "@" not in parts.path + parts.query + parts.fragment else None
    except ValueError:
        return None
