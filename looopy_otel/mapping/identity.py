"""Who and what: the attributes that stand on every span, in every dialect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from looopy_otel.core.identity import Identity
from looopy_otel.core.semconv import (
    AGENT_ID,
    AGENT_TASK_ID,
    CONVERSATION_ID,
    LANGFUSE_AS_ROOT,
    LANGFUSE_ENVIRONMENT,
    LANGFUSE_IS_APP_ROOT,
    LANGFUSE_RELEASE,
    LANGFUSE_TRACE_METADATA,
    LANGFUSE_TRACE_NAME,
    LANGFUSE_TRACE_TAGS,
    LANGFUSE_VERSION,
    PROJECT,
    SESSION_ID,
    USER_ID,
)
from looopy_otel.core.settings import Deployment
from looopy_otel.mapping.attributes import AttributeValue, Fact, known
from looopy_otel.mapping.content import encode_json

TRACE_NAME_LENGTH = 1000
"""Characters; Langfuse's legacy pipeline drops a trace with a longer name."""

_RESERVED = frozenset({"attributes", "resourceAttributes", "scope"})


def identity_attributes(identity: Identity, deployment: Deployment, *, root: bool) -> dict[str, AttributeValue]:
    """The common set: session, user, agent, task and what Langfuse wants to find on every span.

    It is the same in all dialects, since a collector may forward any of them to Langfuse, which takes nothing of this
    from the resource or from another span.

    Args:
        identity: Whose span it is.
        deployment: Environment, release and version of this process.
        root: True for a span whose parent is not ours; marks it as the root for Langfuse. The direct pipeline takes
            true or "true" for its flag, the legacy one compares with the text "true".
    """
    return known(
        {
            SESSION_ID: identity.effective_session_id,
            CONVERSATION_ID: identity.session_id,
            USER_ID: identity.user_id,
            AGENT_ID: identity.agent_id,
            AGENT_TASK_ID: identity.task_id,
            LANGFUSE_TRACE_NAME: (identity.trace_name or identity.agent_id or "")[:TRACE_NAME_LENGTH],
            LANGFUSE_TRACE_TAGS: list(dict.fromkeys(identity.tags)),
            LANGFUSE_ENVIRONMENT: langfuse_environment(deployment.environment),
            LANGFUSE_RELEASE: deployment.release,
            LANGFUSE_VERSION: deployment.version,
            LANGFUSE_IS_APP_ROOT: True if root else None,
            LANGFUSE_AS_ROOT: "true" if root else None,
            **metadata_facts(LANGFUSE_TRACE_METADATA, identity.metadata),
        }
    )


def travelling_attributes(identity: Identity, deployment: Deployment, *, root: bool) -> dict[str, AttributeValue]:
    """What `identity_attributes` gives, and the project, by which a span finds its way; export takes that off again."""
    return identity_attributes(identity, deployment, root=root) | known({PROJECT: identity.project})


@lru_cache(maxsize=16)
def langfuse_environment(environment: str | None) -> str | None:
    """Writes an environment the way Langfuse stores it, so that it does not become ``default``.

    Lower case, other characters than ``a-z 0-9 - _`` replaced by ``-``, no leading ``langfuse``, at most 40 long.
    """
    if environment is None:
        return None
    spelled = re.sub(r"[^a-z0-9_-]", "-", environment.strip().lower())
    return re.sub(r"^(langfuse[-_]?)+", "", spelled)[:40] or None


def metadata_facts(prefix: str, metadata: Mapping[str, Any]) -> dict[str, Fact]:
    """Gives metadata one attribute per first-level key; text, numbers and booleans as they are, structures as JSON.

    ``attributes``, ``resourceAttributes`` and ``scope`` get a trailing underscore: Langfuse keeps own objects there.
    """
    return {
        prefix + (f"{key}_" if key in _RESERVED else key): _scalar(value)
        for key, value in metadata.items()
        if key and value not in (None, [], {})
    }


def _scalar(value: object) -> Fact:
    return value if isinstance(value, str | bool | int | float) else encode_json(value)
