"""Builds the settings of Langfuse: the project that spans go to, and further ones that a session can choose."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import cast

from looopy_otel.core.endpoint import AUTHORIZATION, LANGFUSE_OTLP_PATH, TRACES_PATH, credentials_moved
from looopy_otel.core.environment import EnvironmentReader
from looopy_otel.core.files import readable_by_others
from looopy_otel.core.semconv import LANGFUSE_INGESTION_HEADER, LANGFUSE_INGESTION_VERSION
from looopy_otel.core.settings import Dialect, HTTPDestination, Options
from looopy_otel.core.table_file import read_table

DEFAULT_LANGFUSE_URL = "https://cloud.langfuse.com"
PROJECTS_VARIABLE = "LOOOPY_OTEL_LANGFUSE_PROJECTS"
_EXAMPLE = "{'tenant-a': {'public_key': …, 'secret_key': …}}"
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
        self._source = "langfuse_projects"
        self._further: object = options.langfuse_projects
        path = reader.text(PROJECTS_VARIABLE)
        if self._further is None and path is not None:
            self._source = f"{PROJECTS_VARIABLE} ({path})"
            if readable_by_others(path):
                reader.warnings.append(f"{self._source} holds keys, and others may read it: chmod 600 {path}")
            self._further = read_table(path, lambda problem: self._problem("", problem)) or {}

    @property
    def is_wanted(self) -> bool:
        """True when a key is set, or a project."""
        return bool(self._public or self._secret or self._further)

    def destinations(self, dialects: tuple[Dialect, ...]) -> tuple[HTTPDestination, ...]:
        """The project of the keys, if there are any, and those that a session can choose.

        Args:
            dialects: What their spans carry.
        """
        projects = tuple(self._projects(dialects))
        if self._further and not (self._public or self._secret):
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
        said = self._further
        if said is not None and not isinstance(said, Mapping):
            self._problem("", f"must be a mapping, such as {_EXAMPLE}")
            return
        names: set[str] = set()
        for said_name, keys in cast("Mapping[object, object]", said or {}).items():
            place = f"[{said_name!r}]"
            name = said_name.strip() if isinstance(said_name, str) else ""
            if not name:
                self._problem(place, "a project's name must be text")
            elif name in names:
                self._problem(place, "this project is there twice")
            elif not isinstance(keys, Mapping):
                self._problem(place, "must be a mapping with public_key and secret_key")
            elif (made := self._project(name, place, cast("Mapping[object, object]", keys), dialects)) is not None:
                yield made
            names.add(name)

    def _project(
        self, name: str, place: str, keys: Mapping[object, object], dialects: tuple[Dialect, ...]
    ) -> HTTPDestination | None:
        unknown = sorted(map(repr, keys.keys() - _KEYS))
        if unknown:
            self._problem(place, f"{', '.join(unknown)} is unknown; it takes {', '.join(sorted(_KEYS))}")
        public, secret, base = (_text(keys.get(key)) for key in ("public_key", "secret_key", "base_url"))
        if not public or not secret:
            self._problem(place, "needs public_key and secret_key (project settings → API keys)")
            return None
        if base is None and keys.get("base_url") is not None:
            self._problem(place, "base_url must be text")
        return self._destination(public, secret, base or self._base_url(), dialects, name)

    def _problem(self, place: str, text: str) -> None:
        self._reader.problems.append(f"{self._source}{place}: {text}")

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
        what = "langfuse base URL" if project is None else f"{self._source}[{project!r}] base_url"
        if not self._reader.is_url(what, base):
            return None
        credentials = b64encode(f"{public}:{secret}".encode()).decode()
        headers = {AUTHORIZATION: f"Basic {credentials}", LANGFUSE_INGESTION_HEADER: LANGFUSE_INGESTION_VERSION}
        endpoint, headers = credentials_moved(base + LANGFUSE_OTLP_PATH + TRACES_PATH, headers)
        return HTTPDestination(name="langfuse", endpoint=endpoint, headers=headers, dialects=dialects, project=project)


def _text(said: object) -> str | None:
    return said.strip() or None if isinstance(said, str) else None
