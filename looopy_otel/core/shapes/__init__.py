"""The wire formats of LLM APIs: what a request asks for, what an answer says, how chunks join to an answer."""
