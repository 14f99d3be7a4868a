"""Before all else: by a request's head alone, whether it comes in at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loguru import logger
from starlette.requests import ClientDisconnect

from .guard import let_in
from .limits import Body, length_of, too_large
from .paths import host_in, needs_token, path_in
from .posting import is_sending, send_by_hand
from .problems import ProblemError, told

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .state import Service

_HEALTH: Final = frozenset({"/healthz", "/readyz"})


class Intake:
    """ASGI middleware: refuses what is not to come in before its body is read.

    Args:
        app: what is behind.
        service: the service.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        service = self._service
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        service.requests += 1
        try:
            path = path_in(scope)
            if scope["method"] == "HEAD" and not path.endswith("/events"):
                scope = {**scope, "method": "GET"}  # the server leaves the body out by itself
            self._check(scope, path)
            body = Body(receive, service)
            if is_sending(scope, path):
                await send_by_hand(scope, body, noted, path)
            else:
                await self._app(scope, body, noted)
        except ClientDisconnect:
            logger.debug("a client went before it was answered")
        except Exception as error:
            if started:
                raise  # the connection is all that can be ended
            await told(error, str(scope["method"]))(scope, receive, send)
        finally:
            service.requests -= 1

    def _check(self, scope: Scope, path: str) -> None:
        """Refuse what is not to come in.

        Raises:
            ProblemError: this is not.
        """
        service, settings = self._service, self._service.settings
        if settings.hosts and host_in(scope) not in settings.hosts:
            detail = "the service is not called so here: WAVEBREAK_HOSTS says which names it has"
            raise ProblemError(421, "misdirected", detail)
        if path in _HEALTH:
            return
        if service.requests - service.streams - service.waits > settings.most_requests:
            detail = "too many requests are at work: try again later"
            raise ProblemError(503, "overloaded", detail, {"Retry-After": "1"})
        if needs_token(path):
            let_in(scope, service)
        if length_of(scope) > settings.max_body:
            raise too_large(settings.max_body)
