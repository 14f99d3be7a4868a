"""How the page comes in: a token in exchange for a cookie, so that it is in no address."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from .guard import COOKIE, TheService, refuse_other_sites
from .models import Login, Whoami
from .problems import ProblemError, documented

router = APIRouter(tags=["page"])


@router.post("/login", responses=documented(400, 401, 403, 408, 413, 422, 429, 500))
async def log_in(body: Login, request: Request, response: Response, service: TheService) -> Whoami:
    """Take a token, and give the cookie that the page uses."""
    refuse_other_sites(request.scope)
    # By address, so that nobody keeps others out; a token is too long to be guessed anyway.
    service.buckets.take(f"login {request.client.host if request.client else ''}")
    rule = service.access.rule_of(body.token)
    if rule is None:
        raise ProblemError(401, "unauthorized", "this token does not count")
    response.set_cookie(
        COOKIE,
        body.token,
        httponly=True,
        samesite="strict",
        secure=service.settings.secure_cookie or request.url.scheme == "https",
    )
    return Whoami(name=rule.name, scopes=sorted(rule.scopes), tenants=sorted(rule.tenants))


@router.post("/logout", status_code=204, responses=documented(403, 500))
async def log_out(request: Request, response: Response) -> None:
    """Forget the cookie."""
    refuse_other_sites(request.scope)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
