"""Grafana dashboards and Prometheus alerts for the metrics of looopy-otel; ``python -m dashboards`` writes them."""
