"""The standard variables of OTLP exporters, ``OTEL_EXPORTER_OTLP_…``: those of a signal before those of all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from looopy_otel.core.endpoint import credentials_moved, header_problem, is_grpc_port
from looopy_otel.core.environment import EnvironmentReader
from looopy_otel.core.settings import Dialect, HTTPDestination

logger = logging.getLogger("looopy_otel")

_OF_OTHERS: Final = ("grpc", "http/json")
"""Protocols of OTLP that other exporters in the process may speak."""
_told: Final[set[str]] = set()


class OTLPVariables:
    """The variables of one signal.

    Args:
        reader: Reads them, and takes the problems.
        signal: Whose variables win.
        headers: What the user said in their place, or None.
    """

    def __init__(
        self, reader: EnvironmentReader, signal: Literal["TRACES", "METRICS"], headers: Mapping[str, str] | None
    ) -> None:
        self._reader = reader
        self._signal = signal
        self._said_headers = headers

    def destination(
        self, endpoint: str, what: str, dialects: tuple[Dialect, ...], fallback: str, *, said: bool
    ) -> HTTPDestination | None:
        """Builds the destination; None where the endpoint is no URL. Problems of all variables are collected.

        Args:
            endpoint: The whole URL of the route.
            what: What the endpoint is called in a problem.
            dialects: What spans carry.
            fallback: What to do for another protocol, in words.
            said: True where the user has said the endpoint as an argument.
        """
        usable = self._reader.is_url(what, endpoint)
        if usable:
            self._check_protocol(endpoint, fallback, said=said)
        timeout, certificate, gzip, headers = self._timeout(), self._certificate(), self._gzip(), self._headers()
        if not usable:
            return None
        endpoint, headers = credentials_moved(endpoint, headers)
        return HTTPDestination(
            name="otlp",
            endpoint=endpoint,
            headers=headers,
            dialects=dialects,
            timeout=timeout,
            certificate=certificate,
            gzip=gzip,
        )

    def _check_protocol(self, endpoint: str, fallback: str, *, said: bool) -> None:
        """Another protocol is a problem where it surely is the endpoint's; else the variable is meant for others.

        OpenTelemetry's distribution sets it to ``grpc`` by itself.
        """
        protocol = self._text("PROTOCOL")
        if protocol in (None, "http/protobuf"):
            return
        problem = f"{self._name('PROTOCOL')}={protocol!r}: 'otlp' speaks http/protobuf"
        if protocol not in _OF_OTHERS or (not said and is_grpc_port(endpoint)):
            self._reader.problems.append(f"{problem}; {fallback}")
        elif problem not in _told:
            _told.add(problem)
            logger.warning(
                "looopy-otel: %s, and does so all the same: the variable is taken to be for others.", problem
            )

    def _name(self, name: str) -> str:
        own = f"OTEL_EXPORTER_OTLP_{self._signal}_{name}"
        return own if self._reader.text(own) else f"OTEL_EXPORTER_OTLP_{name}"

    def _text(self, name: str) -> str | None:
        return self._reader.text(self._name(name))

    def _certificate(self) -> str | None:
        path = self._text("CERTIFICATE")
        if path is not None and not Path(path).is_file():
            self._reader.problems.append(f"{self._name('CERTIFICATE')}={path!r}: there is no such file")
        return path

    def _gzip(self) -> bool:
        compression = (self._text("COMPRESSION") or "gzip").lower()
        if compression not in ("gzip", "none"):
            self._reader.problems.append(f"{self._name('COMPRESSION')}={compression!r}: must be gzip or none")
        return compression == "gzip"

    def _timeout(self) -> float:
        # Seconds, as OpenTelemetry's own Python exporters read it; the specification says milliseconds.
        return self._reader.number(self._name("TIMEOUT"), 10.0, 0.001, 1e7)

    def _headers(self) -> dict[str, str]:
        said: Mapping[str, str] | None = self._said_headers
        if said is None:
            said = {
                **self._reader.pairs("OTEL_EXPORTER_OTLP_HEADERS"),
                **self._reader.pairs(f"OTEL_EXPORTER_OTLP_{self._signal}_HEADERS"),
            }
        headers: dict[str, str] = {}
        for name, value in said.items():
            if problem := header_problem(str(name), value):
                self._reader.problems.append(f"OTLP headers: {problem}")
            else:
                headers[str(name).lower()] = value
        return headers
