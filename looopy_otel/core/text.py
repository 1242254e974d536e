"""Text that UTF-8 can say: what every wire and every file here demands."""

from __future__ import annotations


def valid_text(text: str) -> str:
    """Gives `text` as valid Unicode: surrogate pairs are joined, lone surrogates become U+FFFD.

    A program gets them from JSON escapes or from a stream that was cut inside an emoji; protobuf, JSON encoders and
    linear-time matchers all refuse them.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
