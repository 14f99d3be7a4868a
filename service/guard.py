"""At each route: who comes in, what they may, and whose sessions they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BeforeValidator
from starlette.requests import cookie_parser

from ..messages.ids import SessionKey
from .access import ANY_TENANT, TokenRule
from .access import Scope as TokenScope
from .paths import in_full
from .problems import ProblemError, not_found
from .state import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Scope

COOKIE: Final = "wavebreak_token"
CALLER: Final = "wavebreak.caller"
"""Where in a request's scope it is kept who made it."""

_bearer = HTTPBearer(auto_error=False, description="A token of `wavebreak token new NAME`.")
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="What the page has.")

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


async def service_of(request: Request) -> Service:  # async, or FastAPI takes a thread for it
    """The service that a request came to."""
    return cast("Service", request.app.state.service)


TheService = Annotated[Service, Depends(service_of)]


class Caller(NamedTuple):
    """Who made a request.

    Args:
        rule: what the token allows.
        service: the service.
    """

    rule: TokenRule
    service: Service

    def counts(self) -> bool:
        """Whether the token still counts."""
        return self.service.access.counts(self.rule)

    def tenant(self, named: str | None) -> str:
        """The tenant that a request means.

        Raises:
            ProblemError: it is not clear, or it is a foreign one.
        """
        tenant = self.rule.only_tenant if named is None else named
        if tenant is None:
            detail = "this token is for several tenants: say which, by ?tenant="
            raise ProblemError(422, "invalid-request", detail)
        if not self.rule.has_tenant(tenant):
            raise not_found("such session")
        return tenant


def _same_site(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request with a cookie comes from our own page."""
    site = headers.get(b"sec-fetch-site")
    if site is not None and site not in {b"same-origin", b"none"}:
        return False
    origin = headers.get(b"origin")
    if origin is None:
        return True
    return urlsplit(origin.decode("latin-1")).netloc == headers.get(b"host", b"").decode("latin-1")


def refuse_other_sites(scope: Scope) -> None:
    """See to it that a request comes from our own page, or from no page.

    Raises:
        ProblemError: it comes from another one.
    """
    if not _same_site(dict(scope["headers"])):
        raise ProblemError(403, "forbidden", "the cookie counts on the service's own page only")


def let_in(scope: Scope, service: Service) -> Caller:
    """Who makes a request, by its head alone: nobody else's body is read.

    Raises:
        ProblemError: nobody that we know, or more often than the token may.
    """
    bearer: bytes | None = None
    cookies = b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            if bearer is not None:
                raise _unknown("there is more than one header Authorization")
            bearer = value
        elif name == b"cookie":
            cookies = value if not cookies else cookies + b"; " + value
    token, by_cookie = "", False
    if bearer is not None and bearer[:7].lower() == b"bearer ":
        token = bearer[7:].strip().decode("latin-1")
    elif cookies:
        token, by_cookie = cookie_parser(cookies.decode("latin-1")).get(COOKIE, ""), True
    rule = service.access.rule_of(token) if token else None
    if rule is None:
        raise _unknown("a token is needed: Authorization: Bearer TOKEN")
    if by_cookie and scope["method"] not in _SAFE:
        refuse_other_sites(scope)
    service.buckets.take(rule.hash)
    caller = Caller(rule, service)
    scope[CALLER] = caller
    return caller


def _unknown(detail: str) -> ProblemError:
    return ProblemError(401, "unauthorized", detail, {"WWW-Authenticate": "Bearer"})


async def caller_of(
    request: Request,
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
    _cookie: Annotated[str | None, Security(_cookie)] = None,
) -> Caller:
    """Who makes this request: it was let in before it came here."""
    return cast("Caller", request.scope[CALLER])


def check_scope(caller: Caller, scope: TokenScope) -> None:
    """See to it that a token allows something.

    Raises:
        ProblemError: it does not.
    """
    if not caller.rule.allows(scope):
        detail = f"the token {caller.rule.name!r} does not have the scope {str(scope)!r}"
        raise ProblemError(403, "forbidden", detail)


def _needing(scope: TokenScope) -> Callable[..., Any]:
    async def check(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
        check_scope(caller, scope)
        return caller

    check.__name__ = f"needs_{scope}"
    return check


Anyone = Annotated[Caller, Depends(caller_of)]
Reader = Annotated[Caller, Depends(_needing(TokenScope.READ))]
Sender = Annotated[Caller, Depends(_needing(TokenScope.SEND))]
Stopper = Annotated[Caller, Depends(_needing(TokenScope.STOP))]
Admin = Annotated[Caller, Depends(_needing(TokenScope.ADMIN))]

SessionId = Annotated[
    str,
    Path(min_length=1, max_length=512, description="the session's id"),
    BeforeValidator(in_full),
]
MessageId = Annotated[str, Path(min_length=1, max_length=512), BeforeValidator(in_full)]
Tenant = Annotated[
    str | None,
    Query(max_length=512, description="the session's tenant; by default the token's"),
]


def key_of(caller: Caller, session_id: str, tenant: str | None) -> SessionKey:
    """The session that a request means.

    Raises:
        ProblemError: it is somebody else's.
    """
    return SessionKey(caller.tenant(tenant), session_id)


def tenants_of(caller: Caller, tenant: str | None) -> str | None:
    """The tenant of which sessions are listed; None for all.

    Raises:
        ProblemError: it is a foreign one.
    """
    everyone = ANY_TENANT in caller.rule.tenants
    if tenant == ANY_TENANT and everyone:
        return None
    return caller.tenant(tenant)
