"""What goes wrong with an LLM call, each error with a hint that says what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, Unpack

from looopy_otel.core.errors import ConfigurationError, LooopyError

START_PROXY = (
    "start the LiteLLM proxy: pip install 'litellm[proxy]'; export LITELLM_MASTER_KEY=sk-$(openssl rand -hex 16); "
    "litellm --model gpt-3.5-turbo --port 4000, with the same key in LITELLM_API_KEY "
    "(for a local try without a key: LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY=true)"
)
TIMEOUT_HINT = "Give the call more time: timeout=120.0 (seconds) in LiteLLMProvider(…) or update_config(…)."
CONNECTION_HINT = f"Check that base_url is right and that something listens there; if not, {START_PROXY}."
AUTHENTICATION_HINT = (
    "Give the proxy's key as api_key, such as LiteLLM.gpt4(url, api_key), or in LITELLM_API_KEY with "
    "LiteLLM.from_env(model). It is the LITELLM_MASTER_KEY that the proxy was started with, or a virtual key made "
    "with it; a proxy without a database knows the master key alone."
)
RATE_LIMIT_HINT = "Wait for retry_after seconds, or let the provider do so: max_retries=2."
NOT_FOUND_HINT = (
    "Check base_url (the proxy's root, with or without /v1) and the model's name in the proxy's model_list."
)
REQUEST_HINT = "The proxy refused the request: check the model's name and the parameters in extra_params."
SERVER_HINT = "The proxy or the model behind it failed; its log says more. max_retries=2 tries such calls again."
KEYLESS_HINT = "No api_key is set: a proxy that wants one, but has no database, may answer so too."
STREAM_HINT = "The stream broke off, what came before is incomplete: call again, or use the plain form, await call(…)."


class Origin(TypedDict, total=False):
    """What the response that failed said of the call; see `LiteLLMError`."""

    request_id: str | None
    headers: Mapping[str, str] | None


class LiteLLMError(LooopyError):
    """The base of every error of an LLM call.

    Attributes:
        hint: What to do about it, in a sentence. Shown below the traceback too.
        retryable: True when the same call may succeed later.
        request_id: The proxy's id of the call (``x-litellm-call-id``), or None when no response began.
        headers: The response headers that are kept, lower-case names (call id, retries, fallbacks, model group);
            empty when no response began.
    """

    retryable = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.request_id = request_id
        self.headers: Mapping[str, str] = dict(headers or {})
        if hint:
            self.add_note(f"Hint: {hint}")


class LiteLLMConfigError(LiteLLMError, ConfigurationError):
    """An option is wrong; the message names it and the allowed range. Also a `ValueError`."""


class LiteLLMTimeoutError(LiteLLMError, TimeoutError):
    """The call took longer than its ``timeout``. Also a `TimeoutError`."""

    def __init__(self, message: str, *, hint: str = TIMEOUT_HINT, **origin: Unpack[Origin]) -> None:
        super().__init__(message, hint=hint, **origin)


class LiteLLMConnectionError(LiteLLMError, ConnectionError):
    """The endpoint could not be reached, or went away before its reply was complete. Also a `ConnectionError`."""

    retryable = True

    def __init__(self, message: str, *, hint: str = CONNECTION_HINT, **origin: Unpack[Origin]) -> None:
        super().__init__(message, hint=hint, **origin)


class LiteLLMAPIError(LiteLLMError):
    """The endpoint answered, but not with a completion.

    Attributes:
        status: HTTP status.
        type: The endpoint's word for the kind of error, or None.
        code: The endpoint's code of the error, or None.
        retry_after: Seconds after which the endpoint wants the next try, or None when it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        type: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        hint: str = SERVER_HINT,
        **origin: Unpack[Origin],
    ) -> None:
        super().__init__(message, hint=hint, **origin)
        self.status = status
        self.type = type
        self.code = code
        self.retry_after = retry_after
        self.retryable = status in (408, 429) or status >= 500


class LiteLLMAuthenticationError(LiteLLMAPIError):
    """The key is missing, wrong, or may not do this."""


class LiteLLMRateLimitError(LiteLLMAPIError):
    """Too many requests or tokens; `retry_after` says when the endpoint wants the next try, in seconds."""


class LiteLLMStreamError(LiteLLMAPIError):
    """A stream began and did not end well.

    Attributes:
        truncated: True when it ended without a finish reason; False when the endpoint sent an error in it.
    """

    truncated = False
