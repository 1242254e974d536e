"""Agents of other frameworks: the real packages, talking to a model server on loopback."""
