"""Every span, attribute, metric and header name of this library, as documented constants."""

from looopy_otel.core import semconv as _semconv
from looopy_otel.core.semconv import *  # noqa: F403

__all__ = tuple(name for name in vars(_semconv) if name.isupper())  # pyright: ignore[reportUnsupportedDunderAll]
