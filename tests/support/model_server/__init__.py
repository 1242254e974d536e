"""A model server on loopback that real SDKs talk to: OpenAI chat, responses and embeddings, Anthropic messages.

::

    with ModelServer(Answer(text="Hi.", usage=(11, 7))) as server:
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0)
        anthropic.Anthropic(base_url=server.url, api_key="k", max_retries=0)
        server.last.json, server.last.headers        # what was asked

A script is one `Answer`, a list of them (the last one repeats), or a function from `Recorded` to `Answer`;
``server.script = …`` changes it at any time. By its path a request is answered in the vendor's format:
``…/chat/completions``, ``…/responses``, ``…/embeddings``, ``…/messages``, ``…/messages/count_tokens``; any GET gives a
list of models. Whether it is streamed is the request's word. Many connections are served at the same time, one thread
each.

Misbehaviour of a stream, by the number of events sent: ``cut_after`` (TCP connection closed), ``end_after`` (body
ended properly, without a finish reason), ``error_after``, ``stall_before`` with ``gate`` (wait: ``server.stalled`` is
set then;
``gate.set()`` goes on; a client that goes away is counted in ``server.disconnects``, see `wait_for_disconnects`).
``Answer(status=429, text="slow down", headers={"retry-after": "0"})`` is an error, ``body=b"…"`` any other body.
"""

from tests.support.model_server.answer import Answer, Recorded
from tests.support.model_server.server import ModelServer

__all__ = ["Answer", "ModelServer", "Recorded"]
