"""Addresses: what is ours of them, and names in them that may have any character."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from starlette.types import Scope

_SLASH: Final = "\udfff"
"""What a slash within a name is between the address and the route. No address can bring it: it is
half of a character, which nothing decodes to."""

_WRITTEN: Final = re.compile(r"%2[fF]")

_OPEN: Final = frozenset({"/v1/login", "/v1/logout", "/v1/openapi.json"})


def path_in(scope: Scope) -> str:
    """The path of a request below where the service is mounted.

    A slash that was written ``%2F`` does not end a name in it; see :func:`in_full`.
    """
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or b""
    if b"%2" in raw:
        written = raw.decode("ascii", "replace").partition("?")[0]
        path = _SLASH.join(unquote(part) for part in _WRITTEN.split(written))
        scope["path"] = path
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path


def in_full(name: Any) -> Any:
    """A name out of a path, with its slashes."""
    return name.replace(_SLASH, "/") if isinstance(name, str) else name


def needs_token(path: str) -> bool:
    """Whether only those come in here whom a token lets in."""
    return path.startswith(("/v1/", "/chat/")) and path not in _OPEN


def host_in(scope: Scope) -> str:
    """The name by which a request calls the service, without a port."""
    for name, value in scope["headers"]:
        if name == b"host":
            host: str = value.decode("latin-1").lower()
            name_only, colon, port = host.rpartition(":")
            return name_only if colon and port.isdecimal() else host
    return ""
