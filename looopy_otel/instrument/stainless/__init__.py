"""Wrapped clients of the SDKs that Stainless generates (OpenAI, Anthropic): one entry point, `client.request`."""
