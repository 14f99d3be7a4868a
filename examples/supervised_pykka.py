"""Plain Pykka actors under a supervisor: one of them dies, and is started again.

python examples/supervised_pykka.py
"""

from __future__ import annotations

import asyncio

import pykka

from wavebreak import ChildSpec, Report, Supervisor


class Counter(pykka.ThreadingActor):
    """A stock actor that counts, and cannot stand the number 13."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.count = start

    def on_receive(self, message: int) -> int:
        """Add a number."""
        if message == 13:  # noqa: PLR2004
            raise ValueError("not that one")
        self.count += message
        return self.count


async def main() -> None:
    """Have two counters, upset one of them, and go on with the other it became."""
    reports: asyncio.Queue[Report] = asyncio.Queue()
    counters = [ChildSpec("ones", Counter, args=(1,)), ChildSpec("tens", Counter, args=(10,))]
    supervisor = Supervisor.start(counters, intensity=3, period=60)
    supervisor.subscribe(reports.put_nowait)
    await supervisor.started()
    ones, _ = await supervisor.which_children()
    ones.ref.tell(13)
    report = await reports.get()
    print(f"{report.child_id} {report.kind}: {report.cause!r} -> {report.action or 'as told'}")
    for child in await supervisor.which_children():
        print(child.id, await asyncio.to_thread(child.ref.ask, 5))
    await supervisor.stop(block=False)


if __name__ == "__main__":
    asyncio.run(main())
