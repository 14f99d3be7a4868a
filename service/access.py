"""Who may do what: bearer tokens with scopes and tenants."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from loguru import logger
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..messages.errors import InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ANY_TENANT: Final = "*"
BITS: Final = 256
"""Of a token's randomness. With so many a plain hash cannot be searched through."""


class Scope(StrEnum):
    """What a token allows."""

    READ = "read"
    """See sessions, turns and events."""
    SEND = "send"
    """Send messages, and change or take back those that wait."""
    STOP = "stop"
    """Stop turns."""
    ADMIN = "admin"
    """The supervision tree, and forgetting sessions; and all the others."""


class TokenRule(BaseModel):
    """A token as it is kept: what it allows, and a hash that it cannot be made from.

    Args:
        name: what people call it.
        hash: SHA-256 of the token, in hexadecimal.
        scopes: what it allows.
        tenants: for whom; ``"*"`` for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: frozenset[Scope] = frozenset({Scope.READ, Scope.SEND, Scope.STOP})
    tenants: frozenset[str] = frozenset({""})

    def allows(self, scope: Scope) -> bool:
        """Whether it allows this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def has_tenant(self, tenant: str) -> bool:
        """Whether it is for this tenant's sessions."""
        return ANY_TENANT in self.tenants or tenant in self.tenants

    @property
    def only_tenant(self) -> str | None:
        """The tenant that is meant when a request names none; None if that is not clear."""
        if ANY_TENANT in self.tenants or "" in self.tenants:
            return ""
        return next(iter(self.tenants)) if len(self.tenants) == 1 else None


_RULES: Final = TypeAdapter(tuple[TokenRule, ...])


def hash_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token(
    name: str,
    scopes: Iterable[Scope] = (Scope.READ, Scope.SEND, Scope.STOP),
    tenants: Iterable[str] = ("",),
) -> tuple[str, TokenRule]:
    """Make up a token; it is shown once, and its rule is kept.

    Raises:
        ValidationError: a name, a scope or a tenant cannot be used.
    """
    token = f"wb_{secrets.token_urlsafe(BITS // 8)}"
    rule = TokenRule(
        name=name, hash=hash_of(token), scopes=frozenset(scopes), tenants=frozenset(tenants)
    )
    return token, rule


def read_rules(path: Path) -> tuple[TokenRule, ...]:
    """The tokens of a file.

    Raises:
        InvalidSetting: it cannot be read, or is none of tokens.
    """
    try:
        return _RULES.validate_json(path.read_bytes())
    except OSError as error:
        msg = f"tokens={str(path)!r} cannot be read: {error}; make it: wavebreak token new NAME"
        raise InvalidSetting(msg) from error
    except ValidationError as error:
        # Not the error itself: it would show what is in the file.
        wrong = ", ".join(".".join(map(str, e["loc"])) or "all of it" for e in error.errors())
        msg = f"tokens={str(path)!r} is no file of tokens (wrong: {wrong})"
        raise InvalidSetting(msg) from None


def write_rules(path: Path, rules: Iterable[TokenRule]) -> None:
    """Write a file of tokens, all or nothing, for its owner's eyes."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(_RULES.dump_json(tuple(rules), indent=2))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


class Access:
    """The tokens that count now.

    Args:
        rules: tokens of the program's own.
        path: a file of tokens, which is read again when it has changed: what is taken out of it
            counts no more from the next request, and the next event of a stream, on.

    Raises:
        InvalidSetting: the file cannot be used.
    """

    def __init__(self, rules: Iterable[TokenRule] = (), path: Path | None = None) -> None:
        self._own = tuple(rules)
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._filed: tuple[TokenRule, ...] = ()
        self._by_hash: dict[str, TokenRule] = {}
        if path is not None:
            self._stamp = _stamp_of(path)
            self._filed = read_rules(path)
        self._sort()

    @property
    def rules(self) -> tuple[TokenRule, ...]:
        """The tokens that count."""
        self._look()
        return (*self._own, *self._filed)

    def replace(self, rules: Iterable[TokenRule]) -> None:
        """Let these be the tokens of the program's own, and no others."""
        self._own = tuple(rules)
        self._sort()

    def revoke(self, name: str) -> None:
        """Let a token of the program's own count no more; those of the file are taken out there."""
        self.replace(rule for rule in self._own if rule.name != name)

    def rule_of(self, token: str) -> TokenRule | None:
        """What a token allows; None if it is none of ours."""
        self._look()
        wanted = hash_of(token)
        # By its hash: the time could tell where that lies among ours, and from a hash no token can
        # be made. The comparison of the whole takes the same time for all.
        found = self._by_hash.get(wanted)
        same = hmac.compare_digest(wanted if found is None else found.hash, wanted)
        return found if same else None

    def counts(self, rule: TokenRule) -> bool:
        """Whether a token that was let in still is."""
        self._look()
        found = self._by_hash.get(rule.hash)
        return found is rule or found == rule

    def _look(self) -> None:
        """Read the file again if it has changed."""
        path = self._path
        if path is None or (stamp := _stamp_of(path)) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._filed = read_rules(path)
        except InvalidSetting as error:
            self._filed = ()  # a file that cannot be read lets nobody in
            logger.warning("no token of the file counts any more: {}", error)
        self._sort()

    def _sort(self) -> None:
        self._by_hash = {rule.hash: rule for rule in (*self._own, *self._filed)}


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
