"""At each route: who comes in, what they may, and whose sessions they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator

from ..messages.ids import SessionKey
from .access import ANY_TENANT, Scope, TokenRule
from .limits import in_full
from .problems import ProblemError, not_found
from .state import Service

if TYPE_CHECKING:
    from collections.abc import Callable

COOKIE: Final = "wavebreak_token"

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


def _same_site(request: Request) -> bool:
    """Whether a request with a cookie comes from our own page."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def caller_of(
    request: Request,
    service: TheService,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
    cookie: Annotated[str | None, Security(_cookie)] = None,
) -> Caller:
    """Who makes this request.

    Raises:
        ProblemError: nobody that we know, or more often than the token may.
    """
    token = bearer.credentials if bearer is not None else cookie
    rule = service.access.rule_of(token) if token else None
    if rule is None:
        detail = "a token is needed: Authorization: Bearer TOKEN"
        raise ProblemError(401, "unauthorized", detail, {"WWW-Authenticate": "Bearer"})
    if bearer is None and request.method not in _SAFE and not _same_site(request):
        raise ProblemError(403, "forbidden", "the cookie counts on the service's own page only")
    service.buckets.take(rule.name)
    return Caller(rule, service)


def _needing(scope: Scope) -> Callable[..., Any]:
    async def check(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
        if not caller.rule.allows(scope):
            detail = f"the token {caller.rule.name!r} does not have the scope {str(scope)!r}"
            raise ProblemError(403, "forbidden", detail)
        return caller

    check.__name__ = f"needs_{scope}"
    return check


Anyone = Annotated[Caller, Depends(caller_of)]
Reader = Annotated[Caller, Depends(_needing(Scope.READ))]
Sender = Annotated[Caller, Depends(_needing(Scope.SEND))]
Stopper = Annotated[Caller, Depends(_needing(Scope.STOP))]
Admin = Annotated[Caller, Depends(_needing(Scope.ADMIN))]

SessionId = Annotated[
    str,
    Path(min_length=1, max_length=512, description="the session's id"),
    AfterValidator(in_full),
]
MessageId = Annotated[str, Path(min_length=1, max_length=512), AfterValidator(in_full)]
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
