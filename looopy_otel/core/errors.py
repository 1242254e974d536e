"""What this library raises. Everything derives from `LooopyError`."""

from __future__ import annotations


class LooopyError(Exception):
    """The base of every error of this library."""


class ConfigurationError(LooopyError, ValueError):
    """A setting is wrong. The message names every wrong one and says what to write instead."""


class AlreadyUsedError(LooopyError, RuntimeError):
    """A call object was used a second time. Make a new one with `call()`."""


class MissingExtraError(LooopyError, ImportError):
    """An optional package is not installed. The message says how to install it."""


class StreamTruncated(LooopyError):
    """A client's stream ended without a finish reason. It stands on the span only."""

    truncated = True


class StoreError(LooopyError):
    """The local store cannot be read or written, or a trace cannot be told. The message says what to do."""


class StoreLockedError(StoreError):
    """Another process holds the local store's lock. Nothing was written; trying again later helps."""
