"""Running the service: uvicorn, with deadlines of its own, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from loguru import logger
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..messages.errors import InvalidSetting
from .access import Access, Scope, new_token
from .app import create_app
from .settings import ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    from ..system import ActorSystem

_GRACE = 2.0
"""Seconds beyond what a stream gives its reader after which the connection is cut."""


class PunctualProtocol(H11Protocol):
    """Gives up clients which send a request's head, or read an answer, too slowly.

    uvicorn itself has a deadline for neither. Subclassed with the two in :func:`_punctual`.
    """

    head_within = 10.0
    read_within = 10.0
    _head: asyncio.TimerHandle | None = None
    _read: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the head of a request."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._came()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Notice when a head is there, and when one begins."""
        before = cast("RequestResponseCycle | None", self.cycle)
        super().data_received(data)
        if self.cycle is not before:
            self._came()
        elif self._head is None and (before is None or before.response_complete):
            self._expect()

    def pause_writing(self) -> None:
        """The client does not read: it has some time for that."""
        super().pause_writing()
        if self._read is None:
            self._read = self.loop.call_later(self.read_within, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if self._read is not None:
            self._read.cancel()
            self._read = None

    def _expect(self) -> None:
        self._head = self.loop.call_later(self.head_within, self.transport.abort)

    def _came(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


def _punctual(settings: ServiceSettings) -> type[PunctualProtocol]:
    times = {
        "head_within": settings.header_within,
        "read_within": settings.slow_after + _GRACE,
    }
    return type("PunctualProtocol", (PunctualProtocol,), times)


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it: uvicorn would raise them again at its end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _config(app: Any, settings: ServiceSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_punctual(settings),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # only those of proxies that are named, by the app
        limit_concurrency=settings.most_connections,
        timeout_graceful_shutdown=max(1, round(settings.drain_within)),
    )


def access_for(settings: ServiceSettings) -> tuple[Access, str | None]:
    """The tokens that count; without any, one that is made up for this run.

    Returns:
        the access, and the token that was made up.

    Raises:
        InvalidSetting: there are none, and other machines can connect.
    """
    if settings.tokens is not None:
        return Access(path=settings.tokens), None
    if not settings.is_local:
        msg = (
            f"host={settings.host!r} lets other machines connect, and no token is configured: "
            "wavebreak token new NAME --file tokens.json, then WAVEBREAK_TOKENS=tokens.json"
        )
        raise InvalidSetting(msg)
    token, rule = new_token("this run", [Scope.ADMIN], ["*"])
    return Access([rule]), token


async def serve(
    system: ActorSystem,
    settings: ServiceSettings | None = None,
    *,
    started: Callable[[str, str | None], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve a system until SIGTERM or SIGINT, then end in order.

    The end: new messages are refused, running turns end after their wave within the system's
    ``close_within``, everything is journaled, streams get a ``close``. With a journal that lasts
    the next start goes on where this one was.

    Args:
        system: not entered yet.
        settings: how.
        started: told the service's address, and the token that was made up if there is none else.
        stop: set to end it; signals are then the caller's.

    Raises:
        InvalidSetting: something cannot be used.
        OSError: the port cannot be listened on.
    """
    settings = settings or ServiceSettings()
    access, token = access_for(settings)
    ends = stop or asyncio.Event()
    app = create_app(system, access=access, settings=settings)
    config = _config(app, settings)
    server = _Server(config)
    with _signals(None if stop is not None else ends):
        sock = await asyncio.to_thread(_listening, settings.host, settings.port)
        running: asyncio.Task[None] | None = None
        try:
            async with system:
                running = asyncio.create_task(server.serve([sock]))
                if started is not None:
                    host, port = sock.getsockname()[:2]
                    started(f"http://{_in_address(host)}:{port}", token)
                await _first_of(running, ends.wait(), system.wait_closed())
                logger.info("the service ends")
                app.state.service.draining = True
                # The system closes now, and the server goes on answering meanwhile.
        finally:
            server.should_exit = True
            if running is None:
                sock.close()
            else:
                await running


async def _first_of(running: asyncio.Task[None], *ends: Coroutine[Any, Any, object]) -> None:
    """Wait until the server ends, or something else does."""
    tasks = [asyncio.create_task(end) for end in ends]
    try:
        await asyncio.wait({running, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        # How the system has ended is told by whoever leaves it.
        await asyncio.gather(*tasks, return_exceptions=True)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server((str(address[0]), port), family=family, backlog=2048)
        # Connections inherit it. asyncio sees to it for sockets of its own making only, and without
        # it an answer's body waits up to 40 ms for the client's word that its head has come.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        msg = (
            f"{host}:{port} cannot be listened on ({error.strerror or error}): end what does, or "
            "take another; WAVEBREAK_PORT=0 takes any that is free"
        )
        raise OSError(error.errno, msg) from error
    return listening


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@contextlib.contextmanager
def _signals(ends: asyncio.Event | None) -> Generator[None]:
    """Take SIGTERM and SIGINT for the end; a second one is taken as it ever was."""
    if ends is None:
        yield
        return
    loop = asyncio.get_running_loop()
    taken: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        ends.set()
        loop.remove_signal_handler(number)
        taken.remove(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows has no such handlers
            loop.add_signal_handler(number, end, number)
            taken.append(number)
    try:
        yield
    finally:
        for number in tuple(taken):
            loop.remove_signal_handler(number)
