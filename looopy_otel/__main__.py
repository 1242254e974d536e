"""``python -m looopy_otel``: the command line."""

from __future__ import annotations


def main() -> None:
    """Runs the command line ``looopy-otel`` with the arguments of the process; ends the process."""
    from looopy_otel.cli.app import run

    run()


if __name__ == "__main__":
    main()
