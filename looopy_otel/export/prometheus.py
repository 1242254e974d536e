"""The endpoint that Prometheus pulls metrics from: a small HTTP server with a registry of its own.

The exporter carries no exemplars, and a process that was forked off is not seen by it: there, push by OTLP.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from looopy_otel.core.errors import ConfigurationError, MissingExtraError
from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard
from looopy_otel.core.semconv import SERVICE_INSTANCE_ID
from looopy_otel.core.settings import PrometheusMetrics

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from opentelemetry.sdk.metrics.export import MetricReader
    from prometheus_client import CollectorRegistry, Metric

_BACKLOG = 16
_REQUEST_SECONDS = 10.0
_POLL_SECONDS = 0.1
_open: dict[PrometheusMetrics, PullEndpoint] = {}


class PullEndpoint:
    """Listens from the moment it is made; answers once it has a reader.

    Where an earlier one of this process still listens at the same place, both do until that one is closed, so that a
    second `configure()` neither fails nor leaves a gap.

    Args:
        settings: Where to listen.

    Raises:
        ConfigurationError: If nothing can listen there; the message says why and what to set.
        MissingExtraError: If the Prometheus exporter is not installed.
    """

    def __init__(self, settings: PrometheusMetrics) -> None:
        if find_spec("prometheus_client") is None or find_spec("opentelemetry.exporter.prometheus") is None:
            raise MissingExtraError("metrics='prometheus' needs an extra: pip install 'looopy-otel[prometheus]'")
        self._settings = settings
        before = _open.get(settings)
        self._socket: socket.socket = _bound(settings) if before is None else before._socket.dup()
        self._server: _Server | None = None
        _open[settings] = self
        reset_after_fork(self._leave)

    def reader(self, instance: str) -> MetricReader:
        """Makes the reader of a MeterProvider, and starts to answer with what it reads.

        Args:
            instance: The process's ``service.instance.id``, a label of every sample.
        """
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import make_wsgi_app  # pyright: ignore[reportUnknownVariableType]

        registry = CollectorRegistry()
        # Labels that say the same on every metric only cost.
        reader = PrometheusMetricReader(scope_info_enabled=False, registry=registry)
        offered = CollectorRegistry()
        offered.register(_OfProcess(registry, instance))
        self._server = _Server(self._socket, _guarded(cast("_App", make_wsgi_app(offered))))
        serve = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="looopy-otel-prometheus", daemon=True
        )
        serve.start()
        return reader

    def close(self) -> None:
        """Stops listening; waits for the server's thread, which takes a tenth of a second at most."""
        if self._server is not None:
            self._server.shutdown()
        self._leave()

    def _leave(self) -> None:
        # In a forked child the socket would hold the port when the parent has long gone.
        self._socket.close()
        if _open.get(self._settings) is self:
            del _open[self._settings]


class _OfProcess:
    """What a registry collects, as the series of one process.

    Where a process that was restarted went on with the series of the one before, Prometheus would not count the value
    that it begins with.
    """

    def __init__(self, registry: CollectorRegistry, instance: str) -> None:
        self._registry = registry
        self._label = {SERVICE_INSTANCE_ID.replace(".", "_"): instance}

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample._replace(labels={**sample.labels, **self._label}) for sample in family.samples]
            yield family


def _bound(settings: PrometheusMetrics) -> socket.socket:
    """A socket that listens at the first of the host's addresses that takes one."""
    problem: OSError | None = None
    try:
        addresses = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        addresses, problem = [], error
    for family, _, _, _, address in addresses:
        try:
            return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
        except OSError as error:
            problem = problem or error
    raise ConfigurationError(
        f"metrics='prometheus': cannot listen at {settings.host}:{settings.port} ({problem}); another process may, "
        "so choose another OTEL_EXPORTER_PROMETHEUS_PORT (or OTEL_EXPORTER_PROMETHEUS_HOST)"
    ) from problem


_App = Callable[..., Iterable[bytes]]


def _guarded(app: _App) -> _App:
    """One scrape at a time, since the exporter keeps its state in one place; a fault of ours is a 500."""
    turn = threading.Lock()

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with turn, guard("export.prometheus"):
            return app(environ, start_response)
        start_response("500 Internal Server Error", [("content-type", "text/plain")])
        return [b"looopy-otel: see stats().internal_errors\n"]

    return serve


class _Handler(WSGIRequestHandler):
    timeout = _REQUEST_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: a scrape is no news."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, app: _App) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        # What `server_bind` would set, after a look-up of the host's full name that can take seconds.
        self.server_name, self.server_port = listening.getsockname()[:2]
        self.setup_environ()
        self.set_app(app)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a client that goes away is no news either."""
