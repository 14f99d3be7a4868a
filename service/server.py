"""Running the service: uvicorn, with deadlines of its own, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from loguru import logger

from ..messages.errors import InvalidSetting
from .access import Access, Scope, new_token
from .app import create_app
from .protocol import punctual
from .settings import ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from ..system import ActorSystem

_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")

_FILES: Final = 500
"""Files that may be open besides connections: the journal's, sockets of tools, and so on."""

_RARELY: Final = (10_000, 20, 50)
"""When the garbage collector looks, if it is to look rarely; Python's own is (700, 10, 10)."""


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it: uvicorn would raise them again at its end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _config(app: Any, settings: ServiceSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=punctual(settings),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # only those of proxies that are named, by the app
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
    if token is not None and not settings.hosts:
        # A page of a foreign name that leads to this machine is none of ours.
        names = {*_LOOPBACK, _in_address(settings.host.lower())}
        settings = settings.model_copy(update={"hosts": tuple(sorted(names))})
    _have_files(settings.most_connections + _FILES)
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
                with _collecting(rarely=settings.rare_gc):
                    await _first_of(running, ends.wait(), system.wait_closed())
                logger.info("the service ends")
                app.state.service.drain()
                # The system closes now, and the server goes on answering meanwhile.
        finally:
            server.should_exit = True
            if running is None:
                sock.close()
            else:
                await running


@contextlib.contextmanager
def _collecting(*, rarely: bool) -> Generator[None]:
    """Have the garbage collector look rarely, and not at what was there at the start."""
    if not rarely:
        yield
        return
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _have_files(wanted: int) -> None:
    """See to it that so many files may be open, as far as that can be had."""
    try:
        import resource  # noqa: PLC0415 - Windows has none, and no such bound
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    if soft == endless or soft >= wanted:
        return
    least = wanted if hard == endless else min(wanted, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, least), hard))
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < wanted:
        logger.warning(
            "only {} files may be open, and {} are wanted: raise `ulimit -n`, or lower "
            "WAVEBREAK_MOST_CONNECTIONS",
            max(soft, least),
            wanted,
        )


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
