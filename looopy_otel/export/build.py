"""From a destination's settings to its exporter."""

from __future__ import annotations

from looopy_otel.core.settings import (
    ConsoleDestination,
    CustomDestination,
    Destination,
    HTTPDestination,
    LocalDestination,
    Settings,
)
from looopy_otel.export.console import ConsoleExporter
from looopy_otel.export.custom import CustomExporter
from looopy_otel.export.destination import DestinationExporter
from looopy_otel.export.detached import Detached
from looopy_otel.export.local import LocalExporter
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.otlp import OTLPExporter


def build_destination(destination: Destination, settings: Settings, memory: MemoryBudget) -> DestinationExporter:
    """Builds the exporter of one destination; touches neither disk nor network, and starts no thread.

    Args:
        destination: Where to.
        settings: The directory of all outboxes, and what they may take.
        memory: Counts what waits in memory.
    """
    match destination:
        case HTTPDestination():
            return OTLPExporter(destination, settings.spool_directory, settings.limits, memory)
        case LocalDestination():
            return Detached(LocalExporter(destination, memory), memory)
        case ConsoleDestination():
            return Detached(ConsoleExporter(destination), memory)
        case CustomDestination():
            return Detached(CustomExporter(destination), memory)
