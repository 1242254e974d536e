"""LangChain and LangGraph: their callbacks become runs, turns, calls and tools."""
