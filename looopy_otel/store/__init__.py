"""The local store: traces in a SQLite file."""
