"""What a request asks, in the one form in which two requests that ask the same are equal."""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent_pipeline.telemetry import SecretValues

_SHORTEST_PATH = 2
"""Parts of a path: that of `/home` may be a part of any text."""

_VARYING = frozenset({"prompt_cache_key"})
"""Fields of a body that differ from run to run and change no answer: the Agents SDK draws a cache key for each of its
runs (`agents-sdk:run:<uuid>`). Everything else a client adds by itself is a header, and headers are not compared."""


@dataclass(frozen=True, slots=True)
class AskedRequest:
    """A request without what changes no answer: headers, the order of names, the key of a cache.

    Attributes:
        path: as it is asked, with its query.
        body: a JSON value; the text where the body is no JSON.
    """

    provider: str
    method: str
    path: str
    body: object = field(hash=False)

    def digest(self) -> bytes:
        """Return what two requests share that ask the same."""
        whole = [self.provider, self.method, self.path, self.body]
        return hashlib.sha256(_canonical(whole).encode()).digest()


_canonical = functools.partial(json.dumps, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Likeness:
    """In what two requests have to be alike to ask the same.

    Attributes:
        secrets: that are in neither.
        folders: paths of this machine, and what stands in their place: a prompt names the file it is about, and a
            recording is replayed elsewhere.
    """

    secrets: SecretValues
    folders: Mapping[str, str] = field(default_factory=dict)

    def asked(self, provider: str, method: str, path: str, content: bytes) -> AskedRequest:
        """Return what a request asks: the same where it is recorded and where it is replayed.

        Args:
            provider: its id in the roles file.
            method: of the request.
            path: as it is asked, with its query.
            content: its body.
        """
        text = self._elsewhere(content.decode("utf-8", "surrogateescape"))
        try:
            body: object = json.loads(text)
        except (ValueError, RecursionError):
            body = self.secrets.text(text)
        else:
            if self.secrets.suspects(text):
                body = self.secrets.value(body)
            if isinstance(body, dict):
                body = {name: value for name, value in body.items() if name not in _VARYING}
        return AskedRequest(provider, method, self.secrets.text(path), body)

    def _elsewhere(self, text: str) -> str:
        for folder in sorted(self.folders, key=len, reverse=True):
            for written in {json.dumps(folder)[1:-1], json.dumps(folder, ensure_ascii=False)[1:-1]}:
                text = text.replace(f"{written}/", f"{self.folders[folder]}/")
        return text


def folders_of(project: Path, here: Path) -> dict[str, str]:
    """Return what stands in the place of a project's folder and of the working directory; too short ones stay.

    >>> folders_of(Path("/srv/me/project"), Path("/"))
    {'/srv/me/project': '{project}'}
    """
    named = {str(here): "{here}", str(project): "{project}"}
    return {folder: name for folder, name in named.items() if len(Path(folder).parts) > _SHORTEST_PATH}
