"""The service as an ASGI application."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from . import chat_api, login_api, messages_api, posting, problems, sessions_api
from .access import Access
from .guard import TheService
from .intake import Intake
from .models import Health
from .page import mount_page
from .settings import ServiceSettings
from .state import Service

if TYPE_CHECKING:
    from ..system import ActorSystem


def _version() -> str:
    try:
        return version("wavebreak")
    except PackageNotFoundError:  # it runs out of a folder
        return "0"


_health = APIRouter(tags=["health"])


@_health.get("/healthz")
async def healthz() -> Health:
    """Whether the process lives."""
    return Health(status="ok")


@_health.get("/readyz", responses={503: {"model": Health, "description": "it ends"}})
async def readyz(service: TheService) -> Response:
    """Whether messages are taken."""
    ready = not service.draining and service.system.is_running
    return JSONResponse(
        Health(status="ok" if ready else "closing").model_dump(), 200 if ready else 503
    )


def create_app(
    system: ActorSystem,
    *,
    access: Access | None = None,
    settings: ServiceSettings | None = None,
) -> FastAPI:
    """The service over a system that runs; for a program that has a server of its own.

    Args:
        system: whose sessions are served; entered and left by whoever made it, on the same loop.
        access: the tokens that count; nobody comes in without one. By default those of the file
            ``settings.tokens``.
        settings: how it is run.

    Raises:
        InvalidSetting: the tokens cannot be read, or the journal cannot be looked into.
    """
    settings = settings or ServiceSettings()
    if access is None:
        access = Access(path=settings.tokens)
    service = Service(system, settings, access)
    app = FastAPI(
        title="wavebreak",
        summary="Conversations that can be interrupted",
        version=_version(),
        # FastAPI's own pages of documentation load scripts from foreign hosts.
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        # Nobody is sent elsewhere by the name that he calls the service.
        redirect_slashes=False,
        # What any request may be answered, by its head alone.
        responses=problems.documented(400, 413, 421, 503),
    )
    app.state.service = service
    problems.install(app)
    app.include_router(_health)
    app.include_router(posting.router, prefix="/v1")
    app.include_router(messages_api.router, prefix="/v1")
    app.include_router(sessions_api.router, prefix="/v1")
    app.include_router(login_api.router, prefix="/v1", include_in_schema=settings.page)
    if settings.chat_routes:
        app.include_router(chat_api.router)
    if settings.page:
        mount_page(app)
    app.add_middleware(Intake, service=service)
    if settings.proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.proxies))
    return app
