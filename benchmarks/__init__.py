"""Measurements; each is run with ``python -m benchmarks.NAME`` and needs what the tests need."""
