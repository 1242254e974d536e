"""From a destination's settings to its exporter."""

from __future__ import annotations

from pathlib import Path

from looopy_otel.core.settings import (
    ConsoleDestination,
    CustomDestination,
    Destination,
    HTTPDestination,
    LocalDestination,
)
from looopy_otel.export.console import ConsoleExporter
from looopy_otel.export.custom import CustomExporter
from looopy_otel.export.destination import DestinationExporter
from looopy_otel.export.local import LocalExporter
from looopy_otel.export.otlp import OTLPExporter


def build_destination(settings: Destination, spool_directory: Path) -> DestinationExporter:
    """Builds the exporter of one destination; touches neither disk nor network, and starts no thread.

    Args:
        settings: The destination.
        spool_directory: The directory of all outboxes.
    """
    match settings:
        case HTTPDestination():
            return OTLPExporter(settings, spool_directory)
        case LocalDestination():
            return LocalExporter(settings)
        case ConsoleDestination():
            return ConsoleExporter(settings)
        case CustomDestination():
            return CustomExporter(settings)
