"""The story of one operation: its span, its context, its draft."""
