"""Types, operations, seams and settings that everything else builds on; no OpenTelemetry."""
