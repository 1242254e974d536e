"""Usage and a price table in, cost in USD out."""
