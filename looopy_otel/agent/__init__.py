"""The agent loop, without telemetry."""
