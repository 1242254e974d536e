"""OTLP over HTTP with protobuf: encodes batches, keeps them in an outbox, has a sender ship them."""

from __future__ import annotations

import gzip
import hashlib
import time
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan

from looopy_otel.core.settings import Dialect, ExportLimits, HTTPDestination
from looopy_otel.core.types import DestinationStats
from looopy_otel.export.backoff import Backoff
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.outbox import Outbox
from looopy_otel.export.sender import Sender
from looopy_otel.export.tally import Tally

BATCH_BYTES = 4 * 1024 * 1024
_SLICE_SPANS = 16
_SLICE_CHARACTERS = 128 * 1024


class OTLPExporter:
    """One OTLP/HTTP endpoint.

    Args:
        destination: The endpoint.
        spool_directory: The directory of all outboxes; this endpoint's own is one directory in it.
        limits: What the outbox may take of the disk.
        memory: Counts what waits in memory; by default a count of its own.
        backoff: Seconds between tries.
    """

    def __init__(
        self,
        destination: HTTPDestination,
        spool_directory: Path,
        limits: ExportLimits | None = None,
        memory: MemoryBudget | None = None,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        limits = limits or ExportLimits()
        self._destination = destination
        self._tally = Tally(destination.label)
        self._outbox = Outbox(
            spool_directory / destination_key(destination),
            self._tally.dropped,
            memory=memory,
            disk_capacity=limits.spool,
            shed=self._tally.content_shed,
            failed=self._tally.failed,
        )
        self._sender = Sender(destination, self._outbox, self._tally, backoff=backoff)

    @property
    def name(self) -> str:
        """``langfuse``, ``langfuse:tenant-a`` or ``otlp``."""
        return self._destination.label

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """What the spans shall carry."""
        return self._destination.dialects

    def accept(self, spans: Sequence[Outgoing]) -> None:
        """Encodes, splits, compresses and appends to the outbox."""
        for body, count in encoded_batches([outgoing.span for outgoing in spans], self._lose):
            # Level 1 costs least for its gain; zlib releases the interpreter lock meanwhile.
            self._outbox.append(gzip.compress(body, 1, mtime=0) if self._destination.gzip else body, count)
        self._sender.wake()

    def _lose(self, error: Exception) -> None:
        self._tally.failed(f"a span cannot be encoded: {type(error).__name__}")
        self._tally.dropped("unencodable", 1)

    def flush(self, deadline: float) -> bool:
        """Ships until the outbox is empty or `deadline`."""
        return self._sender.flush(deadline)

    def close(self, deadline: float) -> None:
        """Ships what it can until `deadline`; the rest stays on disk for the next process."""
        self._sender.close(deadline)
        self._outbox.close()

    def stats(self) -> DestinationStats:
        """The endpoint's health."""
        circuit = self._sender.circuit
        stats = self._tally.stats(
            queued=self._outbox.queued,
            spooled=self._outbox.spooled,
            state=circuit.state,
            state_since=circuit.since,
        )
        problem = self._outbox.problem
        if problem is None or problem == stats.last_error:
            return stats
        # What the endpoint answers to each try would cover it up.
        return replace(stats, last_error="; ".join(filter(None, (problem, stats.last_error))))


def destination_key(destination: HTTPDestination) -> str:
    """The name of an endpoint's directory: the same for every process that sends to the same place as the same client.

    Spans kept for one project are so never sent to another. No secret can be read from it: of Basic credentials only
    the user (Langfuse's public key) counts, of others a shortened hash.
    """
    identity = hashlib.sha256(destination.endpoint.encode())
    for name, value in sorted(destination.headers.items()):
        identity.update(f"\0{name.lower()}\0{_public_part(value)}".encode())
    return f"{destination.name}-{identity.hexdigest()[:12]}"


def _public_part(value: str) -> str:
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "basic":
        return value
    try:
        return b64decode(token).partition(b":")[0].decode(errors="replace")
    except ValueError:
        return value


def encoded_batches(
    spans: Sequence[ReadableSpan], lost: Callable[[Exception], None], limit: int = BATCH_BYTES
) -> Iterator[tuple[bytes, int]]:
    """Encodes spans as ``ExportTraceServiceRequest`` messages of `limit` bytes at most.

    Only a message of a single span may be larger.

    Args:
        spans: In order.
        lost: Told of each span that cannot be encoded; the others go on without it.
        limit: Bytes of one message.

    Yields:
        The message and the number of its spans.
    """
    body, count = bytearray(), 0
    for part in _slices(spans):
        for piece, length in _encoded(part, lost, limit):
            if body and len(body) + len(piece) > limit:
                yield bytes(body), count
                body, count = bytearray(), 0
            # Messages of one type, one after the other, are one message with their repeated fields joined:
            # https://protobuf.dev/programming-guides/encoding/#last-one-wins
            body += piece
            count += length
        # Lets other threads have the interpreter lock between slices.
        time.sleep(0)
    if body:
        yield bytes(body), count


def _encoded(
    spans: Sequence[ReadableSpan], lost: Callable[[Exception], None], limit: int
) -> Iterator[tuple[bytes, int]]:
    try:
        piece = _encode(spans)
    except (TypeError, ValueError) as error:
        if len(spans) == 1:
            lost(error)
            return
    else:
        # Where a few spans have much besides text, of which slices know nothing, they go one by one.
        if len(spans) == 1 or len(piece) <= limit:
            yield piece, len(spans)
            return
    for span in spans:
        yield from _encoded([span], lost, limit)


def _slices(spans: Sequence[ReadableSpan]) -> Iterator[list[ReadableSpan]]:
    """Groups spans, in order, so that encoding one group takes well under a millisecond where the spans allow it."""
    part: list[ReadableSpan] = []
    size = 0
    for span in spans:
        length = _characters(span)
        if part and (len(part) == _SLICE_SPANS or size + length > _SLICE_CHARACTERS):
            yield part
            part, size = [], 0
        part.append(span)
        size += length
    if part:
        yield part


def _characters(span: ReadableSpan) -> int:
    return sum(len(value) for value in (span.attributes or {}).values() if isinstance(value, str))


def _encode(spans: Sequence[ReadableSpan]) -> bytes:
    # Loaded on the worker, at the first batch, so that no start of a program pays for it.
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    return encode_spans(spans).SerializeToString()


def load_encoder() -> None:
    """Imports the encoder, which the first batch does else."""
    import_module("opentelemetry.exporter.otlp.proto.common.trace_encoder")
