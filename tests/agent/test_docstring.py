from __future__ import annotations

import pytest

from looopy_otel.agent.docstring import Docstring, parse_docstring

GOOGLE = """Finds things.

    Looks everywhere.

    Args:
        query (str): What to find,
            in any language.
        limit (dict[str, tuple[int, ...]], optional): At most: so many.
        *rest: Others.

    Returns:
        A list: of things.
    """
NUMPY = """Finds things.

    Looks everywhere.

    Parameters
    ----------
    query : str
        What to find,
        in any language.
    limit, least : int, optional
        At most: so many.

    Returns
    -------
    list
        Of things.
    """
REST = """Finds things.

    Looks everywhere.

    :param query: What to find,
        in any language.
    :type query: str
    :param int limit: At most: so many.
    :returns: A list.
    """


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, REST], ids=["google", "numpy", "rest"])
def test_each_style_gives_description_and_parameters(text: str) -> None:
    parsed = parse_docstring(text)
    assert parsed.description == "Finds things.\n\nLooks everywhere."
    assert parsed.parameters["query"] == "What to find, in any language."
    assert parsed.parameters["limit"] == "At most: so many."
    assert set(parsed.parameters) <= {"query", "limit", "rest", "least"}


def test_numpy_parameters_may_share_a_description() -> None:
    assert parse_docstring(NUMPY).parameters["least"] == "At most: so many."


def test_a_one_line_section_ends_the_parameters() -> None:
    parsed = parse_docstring("Adds.\n\nArgs:\n    a: First.\n\nReturns: the sum.\n")
    assert parsed == Docstring("Adds.", {"a": "First."})


def test_text_after_a_google_section_belongs_to_the_description() -> None:
    assert parse_docstring("Adds.\n\nArgs:\n    a: First.\n\nMore.").description == "Adds.\n\nMore."


@pytest.mark.parametrize("text", [None, "", "   "])
def test_no_docstring(text: str | None) -> None:
    assert parse_docstring(text) == Docstring()


def test_a_docstring_in_no_style_is_all_description() -> None:
    assert parse_docstring("Takes a and b: both.\nNothing more").description == "Takes a and b: both.\nNothing more"
