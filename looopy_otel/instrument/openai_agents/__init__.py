"""The OpenAI Agents SDK: its traces become runs, turns, calls and tools."""
