"""Runs over real HTTP: an OTLP sink, a scripted model and, where it can be had, a real LiteLLM proxy."""
