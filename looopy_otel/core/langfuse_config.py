"""Builds the settings of Langfuse: the project that spans go to, and further ones that a session can choose."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import cast

from looopy_otel.core.endpoint import AUTHORIZATION, LANGFUSE_OTLP_PATH, TRACES_PATH, credentials_moved
from looopy_otel.core.environment import EnvironmentReader
from looopy_otel.core.semconv import LANGFUSE_INGESTION_HEADER, LANGFUSE_INGESTION_VERSION
from looopy_otel.core.settings import Dialect, HTTPDestination, Options

DEFAULT_LANGFUSE_URL = "https://cloud.langfuse.com"
_KEYS = frozenset({"public_key", "secret_key", "base_url"})


class LangfuseResolution:
    """Options and environment on Langfuse.

    Args:
        options: What the user said.
        reader: Reads the environment, and takes the problems.
    """

    def __init__(self, options: Options, reader: EnvironmentReader) -> None:
        self._options = options
        self._reader = reader
        self._public = options.langfuse_public_key or reader.text("LANGFUSE_PUBLIC_KEY")
        self._secret = options.langfuse_secret_key or reader.text("LANGFUSE_SECRET_KEY")

    @property
    def is_wanted(self) -> bool:
        """True when a key is set."""
        return bool(self._public or self._secret or self._options.langfuse_projects)

    def destinations(self, dialects: tuple[Dialect, ...]) -> tuple[HTTPDestination, ...]:
        """The project of the keys, if there are any, and those of ``langfuse_projects``.

        Args:
            dialects: What their spans carry.
        """
        projects = tuple(self._projects(dialects))
        if projects and not (self._public or self._secret):
            return projects
        default = self._default(dialects)
        return projects if default is None else (default, *projects)

    def _default(self, dialects: tuple[Dialect, ...]) -> HTTPDestination | None:
        keys = (("LANGFUSE_PUBLIC_KEY", self._public), ("LANGFUSE_SECRET_KEY", self._secret))
        missing = " and ".join(name for name, key in keys if not key)
        if missing:
            self._reader.problems.append(f"langfuse: set {missing} (project settings → API keys)")
            return None
        return self._destination(str(self._public), str(self._secret), self._base_url(), dialects, None)

    def _projects(self, dialects: tuple[Dialect, ...]) -> Iterator[HTTPDestination]:
        said: object = self._options.langfuse_projects
        if not isinstance(said, Mapping):
            return
        for name, keys in cast("Mapping[object, object]", said).items():
            what = f"langfuse_projects[{name!r}]"
            if not isinstance(name, str) or not name.strip():
                self._reader.problems.append(f"{what}: a project's name must be text")
            elif not isinstance(keys, Mapping):
                self._reader.problems.append(f"{what}: must be a mapping with public_key and secret_key")
            elif (made := self._project(name, what, cast("Mapping[object, object]", keys), dialects)) is not None:
                yield made

    def _project(
        self, name: str, what: str, keys: Mapping[object, object], dialects: tuple[Dialect, ...]
    ) -> HTTPDestination | None:
        unknown = sorted(map(repr, keys.keys() - _KEYS))
        if unknown:
            self._reader.problems.append(
                f"{what}: {', '.join(unknown)} is unknown; it takes {', '.join(sorted(_KEYS))}"
            )
        public, secret, base = (keys.get(key) for key in ("public_key", "secret_key", "base_url"))
        if not (isinstance(public, str) and public and isinstance(secret, str) and secret):
            self._reader.problems.append(f"{what}: needs public_key and secret_key (project settings → API keys)")
            return None
        return self._destination(public, secret, str(base) if base else self._base_url(), dialects, name)

    def _base_url(self) -> str:
        return (
            self._options.langfuse_base_url
            or self._reader.text("LANGFUSE_BASE_URL")
            or self._reader.text("LANGFUSE_HOST")
            or DEFAULT_LANGFUSE_URL
        )

    def _destination(
        self, public: str, secret: str, base: str, dialects: tuple[Dialect, ...], project: str | None
    ) -> HTTPDestination | None:
        base = base.rstrip("/").removesuffix(TRACES_PATH).removesuffix(LANGFUSE_OTLP_PATH)
        if not self._reader.is_url("langfuse base URL", base):
            return None
        credentials = b64encode(f"{public}:{secret}".encode()).decode()
        headers = {AUTHORIZATION: f"Basic {credentials}", LANGFUSE_INGESTION_HEADER: LANGFUSE_INGESTION_VERSION}
        endpoint, headers = credentials_moved(base + LANGFUSE_OTLP_PATH + TRACES_PATH, headers)
        return HTTPDestination(name="langfuse", endpoint=endpoint, headers=headers, dialects=dialects, project=project)
