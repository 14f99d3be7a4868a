"""What goes wrong, told as problem details (RFC 9457)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from loguru import logger
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from ..messages.errors import (
    AcceptanceUnknown,
    Detached,
    InvalidMessage,
    JournalBusy,
    JournalCorrupt,
    JournalError,
    JournalFull,
    MailboxFull,
    MessageIdReused,
    MessageRejected,
    SessionFailed,
    SystemClosed,
    UnknownMessage,
    WavebreakError,
)

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER: Final = "1"
"""Seconds after which who was refused may try again."""


class WrongField(BaseModel):
    """A part of a request that cannot be used.

    Args:
        where: the way to it, as ``body.deadline``.
        detail: what is wrong with it.
    """

    where: str
    detail: str


class Problem(BaseModel):
    """Why a request was refused.

    Args:
        type: what kind of problem it is, for programs.
        title: the same in words.
        status: the answer's status.
        detail: what was wrong this time, and what to do.
        errors: the parts of the request that cannot be used.
        message_id: of the message whose acceptance is not known: send it again with the same.
    """

    model_config = ConfigDict(extra="forbid")

    type: str
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = ""
    errors: list[WrongField] | None = None
    message_id: str | None = None


class ProblemError(Exception):
    """A request is refused.

    Args:
        status: the answer's status.
        kind: the problem's kind.
        detail: what was wrong, and what to do.
        headers: of the answer.
    """

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})


def not_found(what: str) -> ProblemError:
    """There is no such thing, or it is somebody else's; the two are not told apart."""
    return ProblemError(404, "not-found", f"there is no {what}")


_KINDS: Final[Mapping[type[BaseException], tuple[int, str]]] = {
    MessageIdReused: (422, "message-id-reused"),
    InvalidMessage: (422, "invalid-message"),
    UnknownMessage: (404, "not-found"),
    MessageRejected: (409, "rejected"),
    MailboxFull: (429, "too-much-waits"),
    SystemClosed: (503, "closing"),
    Detached: (503, "closing"),
    AcceptanceUnknown: (503, "acceptance-unknown"),
    SessionFailed: (503, "session-failed"),
    JournalCorrupt: (503, "session-failed"),
    JournalBusy: (429, "too-much-waits"),
    JournalFull: (507, "disk-full"),
    JournalError: (503, "journal"),
}
"""The nearest class of an error's ancestry counts."""

_BY_STATUS: Final[Mapping[int, str]] = {408: "too-slow", 413: "too-large", 503: "closing"}

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def problem_of(error: BaseException) -> ProblemError | None:
    """The problem that an error of ours is; None if it is a mistake of the program's."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, OSError) and error.errno in _FULL:
        return ProblemError(507, "disk-full", "the disk is full: nothing was accepted")
    for kind in type(error).__mro__:
        if kind in _KINDS:
            status, name = _KINDS[kind]
            again = {"Retry-After": RETRY_AFTER} if status in {429, 503} else None
            return ProblemError(status, name, str(error), again)
    if isinstance(error, WavebreakError):
        return ProblemError(500, "error", str(error))
    return None


def answer(problem: ProblemError, **more: Any) -> JSONResponse:
    """The response that tells a problem."""
    return JSONResponse(
        _written(problem, **more), problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


def _written(problem: ProblemError, **more: Any) -> dict[str, Any]:
    body = Problem(
        type=f"urn:wavebreak:problem:{problem.kind}",
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        **more,
    )
    return body.model_dump(mode="json", exclude_none=True)


def _invalid(error: RequestValidationError) -> JSONResponse:
    wrong = [
        WrongField(where=".".join(map(str, each["loc"])), detail=each["msg"])
        for each in error.errors()
    ]
    what = "; ".join(f"{each.where}: {each.detail}" for each in wrong)
    return answer(ProblemError(422, "invalid-request", what), errors=wrong)


def _plain(error: HTTPException) -> JSONResponse:
    phrase = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    kind = _BY_STATUS.get(error.status_code, phrase)
    return answer(ProblemError(error.status_code, kind, str(error.detail), error.headers))


def told(error: Exception, what: str) -> JSONResponse:
    """The response that tells an error, whatever it is; what was not foreseen is logged, too.

    Args:
        error: what was raised.
        what: what it was raised at, for the log.
    """
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _plain(error)
    problem = problem_of(error)
    if problem is None:
        logger.opt(exception=error).error("a request failed: {}", what)
        return answer(ProblemError(500, "error", "the service failed; its log says why"))
    more = {"message_id": error.message_id} if isinstance(error, AcceptanceUnknown) else {}
    return answer(problem, **more)


def install(app: FastAPI) -> None:
    """Have every error of an app told as a problem."""

    async def handle(request: Request, error: Exception) -> JSONResponse:
        route: Any = request.scope.get("route")
        return told(error, f"{request.method} {getattr(route, 'path', '')}")

    for kind in (ProblemError, WavebreakError, OSError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, for the OpenAPI document."""
    return {
        status: {
            "model": Problem,
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {}},
        }
        for status in statuses
    }
