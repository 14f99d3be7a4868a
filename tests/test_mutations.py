"""The suite notices when what durability rests on is broken: each of these lets a test fail.

Every sync, every de-duplication and every order that DESIGN promises is broken in a copy of the
project, one at a time, and the tests named beside it are run on the copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent


class Mutation(NamedTuple):
    """Something to break.

    Args:
        file: where.
        was: the code.
        becomes: what it becomes.
        tests: those of which one has to fail.
    """

    file: str
    was: str
    becomes: str
    tests: str


POWER, SQLITE, FAULTS = (
    "tests/journal/test_power_cuts.py",
    "tests/journal/test_sqlite.py",
    "tests/journal/test_sqlite_faults.py",
)
WAL = "tests/journal/test_wal.py"
RECOVERY, DURABILITY = "tests/system/test_recovery.py", "tests/system/test_durability.py"
RETENTION = "tests/system/test_retention.py"
ERASURE, DELETING = "tests/journal/test_erasure.py", "tests/system/test_deleting.py"

MUTATIONS: Final = {
    "a commit does not sync": Mutation(
        "journal/schema.py",
        '("synchronous", synchronous, _SYNCHRONOUS[synchronous])',
        '("synchronous", "NORMAL", 1)',
        POWER,
    ),
    "a commit is told before it is written": Mutation(
        "journal/committer.py",
        "        try:\n            self._writer.write(items)\n        except OF_ONE:",
        "        self._loop.call_soon_threadsafe(self._written, items)\n"
        "        try:\n            self._writer.write(items)\n        except OF_ONE:",
        f"{FAULTS} {RECOVERY}",
    ),
    "what is read after a failed sync is not written once more": Mutation(
        "journal/writer.py",
        "            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)\n"
        "        except",
        "            pass\n        except",
        FAULTS,
    ),
    "what follows on a lost commit is written": Mutation(
        "journal/committer.py",
        "            self._lost.update({item.key: error for item in items})",
        "            pass",
        FAULTS,
    ),
    "what waits behind a lost commit is written": Mutation(
        "journal/committer.py",
        "        items = (*gone.items, *self._queue)\n        self._queue.clear()",
        "        items = gone.items",
        FAULTS,
    ),
    "what could not be written goes to the end of the queue": Mutation(
        "journal/committer.py",
        "self._queue.extendleft(reversed(held.items))",
        "self._queue.extend(held.items)",
        FAULTS,
    ),
    "what could not be written is dropped": Mutation(
        "journal/committer.py",
        "self._queue.extendleft(reversed(held.items))",
        "pass",
        FAULTS,
    ),
    "a reading does not wait for what is being written": Mutation(
        "journal/sqlite.py",
        "        await opened.committer.settled(key)\n        async with opened.ahead:",
        "        async with opened.ahead:",
        SQLITE,
    ),
    "a snapshot takes one entry too many along": Mutation(
        "journal/writer.py",
        "covered = (first, last - keep)",
        "covered = (first, last - keep + 1)",
        f"{SQLITE} {POWER}",
    ),
    "a snapshot and its compaction are two transactions": Mutation(
        "journal/writer.py",
        '    _insert(connection, "snapshot", [last,',
        '    connection.execute("COMMIT; BEGIN IMMEDIATE")\n'
        '    _insert(connection, "snapshot", [last,',
        POWER,
    ),
    "an entry is written in the place of another": Mutation(
        "journal/writer.py",
        "            if place <= self._last_of(connection, session):",
        "            if False:",
        SQLITE,
    ),
    "what is sorted and what is not are two transactions": Mutation(
        "journal/writer.py",
        '"FROM recent ORDER BY place; DELETE FROM recent; COMMIT"',
        '"FROM recent ORDER BY place; COMMIT; BEGIN; DELETE FROM recent; COMMIT"',
        POWER,
    ),
    "checksums are not compared": Mutation(
        "journal/codec.py",
        "if checksum_of(row.row_id, row.data) != row.checksum:",
        "if False:",
        "tests/journal/test_codec.py",
    ),
    "a missing -wal is not noticed": Mutation(
        "journal/schema.py", "    if accept_loss or was_closed:", "    if True:", SQLITE
    ),
    "a damaged -wal is not noticed": Mutation(
        "journal/schema.py", "    if damage is None:", "    if True:", f"{WAL} -k refused"
    ),
    "a torn -wal is taken for a damaged one": Mutation(
        "journal/wal.py",
        "        if self._commits and not self.is_certain:",
        "        if not self.is_certain:",
        f"{WAL} -k sectors",
    ),
    "nobody holds the lock": Mutation(
        "journal/place.py", "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass", SQLITE
    ),
    "unfinished sessions are not counted": Mutation(
        "journal/sqlite.py",
        "unfinished = more_unfinished(entries)",
        "unfinished = 0",
        f"{RECOVERY}::test_only_sessions_that_something_waits_for_are_started",
    ),
    "what is scheduled is not noted": Mutation(
        "journal/sqlite.py",
        "scheduled.append((entry.position, entry.due_at))",
        "pass",
        "tests/system/test_scheduling.py::test_after_a_restart_nothing_is_loaded_before_it_is_due",
    ),
    "a message id is not remembered": Mutation(
        "actors/machine/messages.py",
        "    known = draft.state.remembered.get(send.message.message_id)",
        "    known = None",
        f"{RECOVERY}::test_what_was_answered_is_known_and_not_answered_again",
    ),
    "an epoch is used twice": Mutation(
        "actors/machine/reports.py",
        "epoch = max(state.epoch, command.above) + 1",
        "epoch = max(state.epoch, command.above, 1)",
        "tests/actors/machine/test_reports.py",
    ),
    "a once call is made again after a crash": Mutation(
        "actors/machine/turns.py",
        "return CallStatus.CANCELLED if call.effect is Effect.READ else CallStatus.UNKNOWN",
        "return CallStatus.CANCELLED",
        f"{RECOVERY}::test_a_turn_comes_back_as_its_next_attempt_answered_from_the_ledger",
    ),
    "an outbox is not drained": Mutation(
        "actors/recorded.py",
        "        if before.outbox:",
        "        if False:",
        f"{RECOVERY}::test_deliveries_that_had_not_ended_are_made_with_their_old_id",
    ),
    "acts do not wait for their commits": Mutation(
        "actors/release.py",
        "        if commit.done and commit.error is None and not self._held:\n",
        "        if True:\n",
        DURABILITY,
    ),
    "what is deleted is not overwritten": Mutation(
        "journal/schema.py",
        '("secure_delete", 1, 1)',
        '("secure_delete", 0, 0)',
        ERASURE,
    ),
    "traces stay where rows were moved away": Mutation(
        "journal/scrubber.py",
        "                file.xWrite(bytes(end - begin), first * size + begin)",
        "                pass",
        f"{ERASURE}::test_no_trace_is_left_where_rows_were_moved_from_page_to_page",
    ),
    "a deletion does not wait for the traces": Mutation(
        "journal/sqlite.py",
        "        return Erased(commit, clean)",
        "        return Erased(commit, commit)",
        ERASURE,
    ),
    "a session is erased table by table": Mutation(
        "journal/writer.py",
        '            connection.execute("DELETE FROM session WHERE id = ?", (session,))',
        '            connection.execute("COMMIT; BEGIN IMMEDIATE")\n'
        '            connection.execute("DELETE FROM session WHERE id = ?", (session,))',
        ERASURE,
    ),
    "no floor is kept": Mutation(
        "journal/writer.py",
        "            raise_floor(connection, name_of(key, self._salt), floor, time.time())",
        "            pass",
        ERASURE,
    ),
    "an entry of a session that is not there begins one": Mutation(
        "journal/writer.py",
        "                self._check_floor(connection, key, floor)",
        "                pass",
        ERASURE,
    ),
    "a snapshot of an erased session is kept": Mutation(
        "journal/writer.py",
        '"SELECT id FROM session WHERE tenant = ? AND session_id = ? AND floor < ?",',
        '"INSERT INTO session (tenant, session_id) VALUES (?, ?) "\n'
        '        "ON CONFLICT DO UPDATE SET touched_at = ? RETURNING id",',
        ERASURE,
    ),
    "a report begins a session": Mutation(
        "actors/deleting.py",
        "        if error is None and not self.state.uid and self._is_first(self._OF_ITS_OWN):",
        "        if False:",
        DELETING,
    ),
    "a call of an erased session ends one of the next": Mutation(
        "actors/machine/reports.py",
        "    if report.fence[0] <= draft.state.floor:",
        "    if False:",
        f"{DELETING} tests/actors/machine/test_deleting.py",
    ),
    "an undoing of an erased session stands for one of the next": Mutation(
        "supervisors/compensations.py",
        "    return order.key, order.call.call_id, order.call.idempotency_key",
        "    return order.key, order.call.call_id, order.key",
        DELETING,
    ),
    "deliveries of an erased session are made": Mutation(
        "actors/outbound.py",
        "        queue = self.queues.pop(key, None)",
        "        queue = None",
        DELETING,
    ),
    "a deletion that was not confirmed is not asked for again": Mutation(
        "actors/deleting.py",
        "            self.actor_inbox.put(Envelope(again), Lane.CONTROL)",
        "            pass",
        DELETING,
    ),
    "an erased session goes on with its old positions": Mutation(
        "actors/recorded.py",
        "        state = begun(self._key, recorded.floor)",
        "        state = self.state",
        DELETING,
    ),
    "a clock that was set counts": Mutation(
        "journal/age.py",
        "        _set_back(connection, now)",
        "        pass",
        RETENTION,
    ),
    "a session is erased under its actor": Mutation(
        "supervisors/sweeper.py",
        "        if key in door.cells or key in door.leaving or upkeep.is_busy(key):",
        "        if False:",
        RETENTION,
    ),
    "what is used is erased after all": Mutation(
        "journal/writer.py",
        '"AND (?3 IS NULL OR (unfinished = 0',
        '"AND (1 OR ?3 OR (unfinished = 0',
        ERASURE,
    ),
    "a gap in the positions is folded over": Mutation(
        "actors/machine/evolve.py",
        "        if entry.position != state.position + 1:",
        "        if False:",
        "tests/actors/machine/test_evolve.py",
    ),
}


class Runs:
    """Runs of the suite on mutated copies, one ahead of the one that is waited for.

    Args:
        names: of the mutations, in the order in which they are asked for.
        folder: for the copies.
    """

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        self._coming = list(names)
        self._folder = folder
        self._under_way: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}

    def result(self, name: str) -> tuple[int, str]:
        """The exit status of a mutation's run, and what it printed."""
        if name in self._coming:
            self._begin(name)
        if self._coming:
            self._begin(self._coming[0])
        process, place = self._under_way.pop(name)
        try:
            status = process.wait(timeout=55)
        finally:
            process.kill()
            process.wait()
        printed = (place / "printed").read_text(encoding="utf-8")
        shutil.rmtree(place)
        return status, printed

    def _begin(self, name: str) -> None:
        self._coming.remove(name)
        mutation, place = MUTATIONS[name], self._folder / str(len(self._coming))
        copy = place / "wavebreak"
        # With what Python has compiled: it belongs to times and sizes, which are copied, too.
        shutil.copytree(
            ROOT,
            copy,
            ignore=shutil.ignore_patterns(
                ".*", "*.egg-info", "docs", "examples", "benchmarks", "build", "dist"
            ),
        )
        source = (copy / mutation.file).read_text(encoding="utf-8")
        assert source.count(mutation.was) == 1, f"{mutation.file} has changed: mend the list above"
        broken = source.replace(mutation.was, mutation.becomes)
        (copy / mutation.file).write_text(broken, encoding="utf-8")
        with (place / "printed").open("wb") as printed:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"),
                    *("-p", "no:randomly", "--timeout=20", "--tb=line", *mutation.tests.split()),
                ],
                cwd=copy,
                env={**os.environ, "PYTHONPATH": str(place)},
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
        self._under_way[name] = (process, place)

    def end(self) -> None:
        """Nobody asks any more."""
        for process, _ in self._under_way.values():
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    ours = [item for item in request.session.items if item.path == request.path]
    names = [
        str(item.callspec.params["name"]) for item in ours if isinstance(item, pytest.Function)
    ]
    runs = Runs(names, tmp_path_factory.mktemp("mutated"))
    yield runs
    runs.end()


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_the_suite_fails_when(name: str, runs: Runs) -> None:
    status, printed = runs.result(name)
    # 1: tests failed. Anything else means that they could not be run.
    assert status == 1, printed[-2000:]
    assert "failed" in printed
