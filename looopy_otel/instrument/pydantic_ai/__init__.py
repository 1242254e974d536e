"""Pydantic AI: its runs become runs, turns, calls and tools."""
