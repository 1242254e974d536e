"""What plugs into the OpenTelemetry SDK: processor, worker, outbox, sender, destinations."""
