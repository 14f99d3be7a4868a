"""The service's settings: arguments, or variables of the environment that begin WAVEBREAK_."""

from __future__ import annotations

from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, ValidationError
from pydantic_core import from_json
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ..messages.errors import InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self


def _named(value: Any) -> Any:
    """Names with commas between, as a variable has them, or in JSON."""
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        return from_json(value)
    return [part.strip() for part in value.split(",") if part.strip()]


_OTHERS: Final = frozenset({"WAVEBREAK_URL", "WAVEBREAK_TOKEN"})
"""What the command line's clients read."""

Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_named)]


def _named_as(where: tuple[int | str, ...], said: dict[str, Any]) -> str:
    """A setting as it was given: as an argument, or as a variable."""
    name = str(where[0]) if where else ""
    return name if said.get(name) is not None else f"WAVEBREAK_{name.upper()}"


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """Sentences about variables that look like settings and are none."""
    known = {f"WAVEBREAK_{name.upper()}" for name in ServiceSettings.model_fields} | _OTHERS
    told: list[str] = []
    for name in sorted(environment):
        if name.startswith("WAVEBREAK_") and name not in known:
            near = get_close_matches(name, known, 1)
            meant = f": did you mean {near[0]}?" if near else ""
            told.append(f"{name} is no setting{meant}")
    return told


class ServiceSettings(BaseSettings):
    """How the service is run; ``WAVEBREAK_PORT=9000`` is ``port=9000``.

    Args:
        host: the address to listen on; another than loopback needs ``tokens``.
        port: 0 takes any that is free.
        tokens: a file of tokens, made by ``wavebreak token new``; looked at again when it changes.
        max_body: bytes of a request's body.
        header_within: seconds a client has to send the head of its request.
        body_within: seconds it has for the body.
        heartbeat: seconds of silence after which a stream shows that it is alive.
        slow_after: seconds a stream may wait for its reader before it is cut off.
        longest_wait: seconds that ``wait`` may ask for.
        most_streams: event streams at a time, of all clients.
        most_requests: requests at work at a time, streams not counted.
        most_connections: connections at a time.
        rate: requests a second that a token may make for good.
        burst: requests it may make at once.
        page: whether there is a page at ``/``.
        chat_routes: whether there are the routes of MindRoot's chat.
        hosts: the names by which the service is called; others are refused. Any name if empty, but
            for a service on loopback without ``tokens``: then those of loopback.
        proxies: addresses of proxies whose ``X-Forwarded-*`` headers count.
        secure_cookie: whether the page's cookie goes over TLS only.
        drain_within: seconds that requests have to end in when the service ends.
        rare_gc: whether Python's garbage collector looks rarely, which makes the service faster by
            a tenth and its slowest answers by more; for a process that does nothing else. The
            command ``wavebreak serve`` does that unless it is told not to.
        log_texts: whether the logs may have the words of errors, in which there may be texts of
            messages; without it they have their types and places.
        debug: whether everything is logged.
    """

    model_config = SettingsConfigDict(env_prefix="WAVEBREAK_", extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8765, ge=0, le=65535)
    tokens: Path | None = None
    max_body: PositiveInt = 1 << 20
    header_within: PositiveFloat = 10.0
    body_within: PositiveFloat = 30.0
    heartbeat: PositiveFloat = 15.0
    slow_after: PositiveFloat = 10.0
    longest_wait: PositiveFloat = 300.0
    most_streams: PositiveInt = 2_000
    most_requests: PositiveInt = 1_000
    most_connections: PositiveInt = 5_000
    rate: PositiveFloat = 500.0
    burst: PositiveInt = 1_000
    page: bool = True
    chat_routes: bool = True
    hosts: Names = ()
    proxies: Names = ()
    secure_cookie: bool = False
    drain_within: PositiveFloat = 5.0
    rare_gc: bool = False
    log_texts: bool = False
    debug: bool = False

    @classmethod
    def given(cls, **said: Any) -> Self:
        """The settings of the environment, but for what is said here.

        Args:
            said: fields; one that is None is not said.

        Raises:
            InvalidSetting: one of them cannot be used; the message names it.
        """
        try:
            return cls(**{name: value for name, value in said.items() if value is not None})
        except ValidationError as error:
            wrong = [
                f"{_named_as(each['loc'], said)}={each['input']!r}: {each['msg']}"
                for each in error.errors()
            ]
            raise InvalidSetting("; ".join(wrong)) from None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False
