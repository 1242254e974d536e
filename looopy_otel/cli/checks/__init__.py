"""What `looopy-otel doctor` tries, one file per part of the way from this process to a backend."""
