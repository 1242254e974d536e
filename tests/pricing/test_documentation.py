"""The page on prices names every part that has a price, and its examples work."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from looopy_otel.core.config import resolve
from looopy_otel.core.model_price import PRICE_NAMES
from looopy_otel.core.settings import Options

PAGE = (Path(__file__).parents[2] / "docs" / "prices.md").read_text(encoding="utf-8")


def test_every_part_has_a_row() -> None:
    table = PAGE.partition("| part |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(PRICE_NAMES)


def test_the_file_in_it_is_right() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    prices = resolve(Options(prices=tomllib.loads(text)), {}).prices
    assert [price.model for price in prices] == ["my-model", "claude-*"]
