"""A draft into the attributes of one exported span, in the dialects that its destination speaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from looopy_otel.core.draft import Draft
from looopy_otel.core.settings import Deployment, Dialect
from looopy_otel.mapping import genai, langfuse, seed
from looopy_otel.mapping.attributes import AttributeValue
from looopy_otel.mapping.own_keys import OWN_KEYS, is_own

__all__ = ["OWN_KEYS", "is_own", "render"]

_Renderer: TypeAlias = Callable[[Draft, Deployment], dict[str, AttributeValue]]
_DIALECTS: Mapping[Dialect, _Renderer] = {
    "langfuse": langfuse.attributes,
    "genai": genai.attributes,
    "seed": seed.attributes,
}


def render(draft: Draft, deployment: Deployment, dialects: Sequence[Dialect]) -> dict[str, AttributeValue]:
    """Renders a draft in one or several dialects; a name that two of them share has one value.

    An exported span carries what others set on it (minus the keys that `is_own` claims) and this on top.

    Args:
        draft: Redacted and priced.
        deployment: Environment, release and version of this process.
        dialects: What to speak, in order; none gives no attributes.
    """
    attributes: dict[str, AttributeValue] = {}
    for dialect in dialects:
        attributes |= _DIALECTS[dialect](draft, deployment)
    return attributes
