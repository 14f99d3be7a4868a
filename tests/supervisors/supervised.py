"""Actors for the tests of supervisors: of both kinds, and they do what they are told."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Final, NamedTuple

import pykka
import pytest

from wavebreak.actors.actor import AsyncioActor
from wavebreak.actors.exit import Exit, Notice
from wavebreak.messages.errors import Shutdown
from wavebreak.supervisors.child_spec import ChildSpec, Restart
from wavebreak.supervisors.children import ChildState
from wavebreak.supervisors.life import force
from wavebreak.supervisors.supervisor import Supervisor
from wavebreak.supervisors.supervisor_ref import SupervisorRef
from wavebreak.supervisors.watch import watch

HELD: Final = 10.0
"""Real seconds after which a held thread gives up, so that a failed test hangs nothing."""


class Script:
    """What the actors of one test do, and what they did."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.fail: dict[str, BaseException] = {}
        """By name: what ``on_start`` raises as long as it is in here."""
        self.gate = threading.Event()

    def note(self, what: str, name: str) -> None:
        self.done.append((what, name))

    def start(self, name: str) -> None:
        self.note("start", name)
        if name in self.fail:
            raise self.fail[name]

    def names(self, what: str) -> list[str]:
        return [name for did, name in self.done if did == what]


class LoopWorker(AsyncioActor):
    def __init__(self, script: Script, name: str = "w") -> None:
        super().__init__()
        self.script = script
        self.name = name

    def on_start(self) -> None:
        self.script.start(self.name)

    def on_stop(self) -> None:
        self.script.note("stop", self.name)

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        return self.hang() if message == "hang" else message

    async def hang(self) -> None:
        await asyncio.get_running_loop().create_future()


class StubbornWorker(LoopWorker):
    """Does not let itself be cancelled until the test opens the gate."""

    async def hang(self) -> None:
        while not self.script.gate.is_set():
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                continue


class SlowWorker(LoopWorker):
    """Takes a second to stop."""

    def on_stop(self) -> Any:
        async def slowly() -> None:
            await asyncio.sleep(1)
            self.script.note("stop", self.name)

        return slowly()


class ThreadWorker(pykka.ThreadingActor):
    def __init__(self, script: Script, name: str = "w") -> None:
        super().__init__()
        self.script = script
        self.name = name

    def on_start(self) -> None:
        self.script.start(self.name)

    def on_stop(self) -> None:
        self.script.note("stop", self.name)

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        if message == "hang":
            self.script.note("hang", self.name)
            self.script.gate.wait(HELD)
        return message


class Kind(NamedTuple):
    """A runtime whose actors are supervised."""

    worker: type[pykka.Actor]


LOOP: Final = Kind(LoopWorker)
THREAD: Final = Kind(ThreadWorker)

KINDS: Final = [
    pytest.param(LOOP, id="loop"),
    pytest.param(THREAD, id="thread", marks=pytest.mark.real_time),
]


class World:
    """One test's supervisors and actors."""

    def __init__(self, kind: Kind) -> None:
        self.script = Script()
        self.kind = kind

    def spec(
        self,
        name: str,
        restart: Restart = Restart.PERMANENT,
        *,
        worker: type[pykka.Actor] | None = None,
        **more: Any,
    ) -> ChildSpec:
        return ChildSpec(
            name, worker or self.kind.worker, args=(self.script, name), restart=restart, **more
        )

    def pool_spec(self, restart: Restart = Restart.PERMANENT, **more: Any) -> ChildSpec:
        return ChildSpec("pool", self.kind.worker, args=(self.script,), restart=restart, **more)

    async def supervise(
        self, *children: ChildSpec, intensity: int = 2, period: float = 3600, **more: Any
    ) -> SupervisorRef[Any]:
        sup = Supervisor.start(children, intensity=intensity, period=period, **more)
        await sup.started()
        return sup

    async def refs(self, sup: SupervisorRef[Any]) -> list[Any]:
        return [info.ref for info in await sup.which_children()]

    async def ref(self, sup: SupervisorRef[Any], child_id: str) -> Any:
        for info in await sup.which_children():
            if info.id == child_id:
                return info.ref
        raise LookupError(child_id)

    async def states(self, sup: SupervisorRef[Any]) -> dict[Any, ChildState]:
        return {info.id: info.state for info in await sup.which_children()}

    async def counts(self, sup: SupervisorRef[Any]) -> list[int]:
        return list(await sup.count_children())

    async def end(self, ref: pykka.ActorRef[Any], how: str) -> Exit:
        """End a child in one of the ways of OTP's suite, and wait until it is gone."""
        if how == "normal":
            ref.stop(block=False)
        elif how == "kill":
            force(ref)
        else:
            ref.tell(HOW[how]())
        return await self.gone(ref)

    async def gone(self, ref: pykka.ActorRef[Any]) -> Exit:
        """Wait until an actor is gone; the supervisor, which watches it longer, knows then."""
        loop = asyncio.get_running_loop()
        gone: asyncio.Future[Exit] = loop.create_future()

        def told(notice: Notice) -> None:
            if isinstance(notice, Exit):
                loop.call_soon_threadsafe(gone.set_result, notice)

        watch(ref, told)
        return await gone

    async def stop(self, sup: pykka.ActorRef[Any]) -> None:
        await sup.stop(block=False)


HOW: Final[dict[str, Any]] = {
    "shutdown": Shutdown,
    "shutdown with a reason": lambda: Shutdown("some info"),
    "abnormal": lambda: ValueError("abnormal"),
    "exit": lambda: SystemExit(3),
}
