"""LLM providers, without telemetry."""
