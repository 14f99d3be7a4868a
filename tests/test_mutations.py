"""The suite notices when what durability rests on is broken: each of these lets a test fail.

Every sync, every de-duplication and every order that DESIGN promises is broken in a copy of the
project, one at a time, and the test named beside it is run on the copy. It fails there, and passes
on a copy that is whole: so what was broken was reached, and was what it failed for.
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
        test: the one that has to fail; without the mutation it passes.
    """

    file: str
    was: str
    becomes: str
    test: str


JOURNAL, SYSTEM = "tests/journal", "tests/system"
POWER, KILLS = f"{JOURNAL}/test_power_cuts.py", f"{JOURNAL}/test_kills.py"
SQLITE, FAULTS = f"{JOURNAL}/test_sqlite.py", f"{JOURNAL}/test_sqlite_faults.py"
WAL, ERASURE = f"{JOURNAL}/test_wal.py", f"{JOURNAL}/test_erasure.py"
RECOVERY, DURABILITY = f"{SYSTEM}/test_recovery.py", f"{SYSTEM}/test_durability.py"
RETENTION, DELETING = f"{SYSTEM}/test_retention.py", f"{SYSTEM}/test_deleting.py"
MACHINE = "tests/actors/machine"
WAVES = f"{SYSTEM}/test_waiting_waves.py"

MUTATIONS: Final = {
    "a commit that failed begins its wave": Mutation(
        "actors/attempt_waves.py",
        "        gate.set_exception(commit.error)",
        "        gate.set_result(None)",
        f"{WAVES}::test_a_commit_that_fails_starts_nothing_while_its_session_is_busy_either[False]",
    ),
    "what a wave's commit makes durable is not told": Mutation(
        "actors/recorded.py",
        "            entries = (entry_of(entries),)",
        "            return",
        f"{WAVES}::test_who_subscribes_while_a_wave_waits_is_told_of_it_when_it_is_durable",
    ),
    "a commit does not sync": Mutation(
        "journal/schema.py",
        '("synchronous", synchronous, _SYNCHRONOUS[synchronous])',
        '("synchronous", "NORMAL", 1)',
        f"{POWER}::test_what_was_acknowledged_is_there_after_a_power_cut",
    ),
    "a commit is told before it is written": Mutation(
        "journal/committer.py",
        "        try:\n            self._writer.write(items)\n        except OF_ONE:",
        "        self._loop.call_soon_threadsafe(self._written, items)\n"
        "        try:\n            self._writer.write(items)\n        except OF_ONE:",
        f"{FAULTS}::test_a_sync_that_fails_leaves_it_unknown_and_the_journal_goes_on",
    ),
    "what is read after a failed sync is not written once more": Mutation(
        "journal/writer.py",
        "            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)\n"
        "        except",
        "            pass\n        except",
        f"{FAULTS}::test_after_a_failed_sync_all_that_is_read_was_written_once_more",
    ),
    "what follows on a lost commit is written": Mutation(
        "journal/committer.py",
        "            self._lost.update(dict.fromkeys(followed, error))",
        "            pass",
        f"{FAULTS}::test_a_sync_that_fails_leaves_it_unknown_and_the_journal_goes_on",
    ),
    "what waits behind a lost commit is written": Mutation(
        "journal/committer.py",
        "        items = (*gone.items, *self._queue)\n        self._queue.clear()",
        "        items = gone.items",
        f"{FAULTS}::test_what_waits_behind_a_lost_commit_is_lost_with_it",
    ),
    "what could not be written goes to the end of the queue": Mutation(
        "journal/committer.py",
        "self._queue.extendleft(reversed(held.items))",
        "self._queue.extend(held.items)",
        f"{FAULTS}::test_what_comes_while_a_full_disk_is_tried_stays_behind_what_was_there",
    ),
    "what could not be written is dropped": Mutation(
        "journal/committer.py",
        "self._queue.extendleft(reversed(held.items))",
        "pass",
        f"{FAULTS}::test_what_cannot_be_written_when_it_is_closed_is_given_up_and_said_so",
    ),
    "a reading does not wait for what is being written": Mutation(
        "journal/sqlite.py",
        "        await opened.committer.settled(key)\n        async with opened.ahead:",
        "        async with opened.ahead:",
        f"{SQLITE}::test_what_is_read_has_all_that_was_appended_before",
    ),
    "a snapshot takes one entry too many along": Mutation(
        "journal/statements.py",
        "covered = (first, last - keep)",
        "covered = (first, last - keep + 1)",
        f"{SQLITE}::test_a_state_takes_the_place_of_the_entries_before_it_when_they_are_many",
    ),
    "a snapshot and its compaction are two transactions": Mutation(
        "journal/statements.py",
        '    insert_rows(connection, "snapshot", [last,',
        '    connection.execute("COMMIT; BEGIN IMMEDIATE")\n'
        '    insert_rows(connection, "snapshot", [last,',
        f"{KILLS}::test_a_state_and_what_it_takes_the_place_of_are_one_transaction",
    ),
    "an entry is written in the place of another": Mutation(
        "journal/writer.py",
        "        if place <= last:",
        "        if False:",
        f"{SQLITE}::test_rows_are_sorted_now_and_then_and_read_from_wherever_they_are",
    ),
    "what is sorted and what is not are two transactions": Mutation(
        "journal/writer.py",
        '"FROM recent ORDER BY place; DELETE FROM recent; COMMIT"',
        '"FROM recent ORDER BY place; COMMIT; BEGIN; DELETE FROM recent; COMMIT"',
        f"{KILLS}::test_rows_that_are_sorted_are_in_one_place_all_the_time",
    ),
    "checksums are not compared": Mutation(
        "journal/codec.py",
        "if checksum_of(row.row_id, row.data) != row.checksum:",
        "if False:",
        "tests/journal/test_codec.py::test_a_row_that_cannot_be_relied_on_is_refused[changed]",
    ),
    "a missing -wal is not noticed": Mutation(
        "journal/schema.py",
        "    if accept_loss or was_closed:",
        "    if True:",
        f"{SQLITE}::test_a_journal_that_lost_its_newest_part_is_refused_unless_that_may_be",
    ),
    "a -wal without its journal is deleted": Mutation(
        "journal/schema.py",
        "    if is_there or not (wal.transactions or wal.damage):",
        "    if True:",
        f"{SQLITE}::test_a_newest_part_without_its_journal_is_not_deleted",
    ),
    "a damaged -wal is not noticed": Mutation(
        "journal/schema.py",
        "    if damage is None:",
        "    if True:",
        f"{WAL}::test_a_journal_with_a_damaged_newest_part_is_refused_and_not_touched",
    ),
    "a torn -wal is taken for a damaged one": Mutation(
        "journal/wal.py",
        "        if self._commits and not self.is_certain:",
        "        if not self.is_certain:",
        f"{WAL}::test_sectors_of_the_last_transaction_may_be_missing_in_any_order",
    ),
    "nobody holds the lock": Mutation(
        "journal/place.py",
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        f"{SQLITE}::test_a_journal_that_is_open_is_refused_to_a_second",
    ),
    "unfinished sessions are not counted": Mutation(
        "journal/sqlite.py",
        "unfinished = more_unfinished(entries)",
        "unfinished = 0",
        f"{RECOVERY}::test_only_sessions_that_something_waits_for_are_started",
    ),
    "what is scheduled is not noted": Mutation(
        "journal/counting.py",
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
        f"{MACHINE}/test_reports.py::test_an_epoch_is_above_every_other_that_was_in_use",
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
        f"{DURABILITY}::test_nothing_leaves_before_it_is_durable",
    ),
    "a wave does not wait for its commit": Mutation(
        "actors/attempt_waves.py",
        "        if not has_reads:\n",
        "        if not has_reads:\n            return waiting, None\n",
        f"{DURABILITY}::test_nothing_leaves_before_it_is_durable",
    ),
    "a call beside a read does not wait for its commit": Mutation(
        "actors/wave_call.py",
        "        return self._commit.done",
        "        return True",
        f"{SYSTEM}/test_waiting_waves.py::test_a_wave_waits_as_a_whole_and_its_reads_do_not",
    ),
    "what is deleted is not overwritten": Mutation(
        "journal/schema.py",
        '("secure_delete", 1, 1)',
        '("secure_delete", 0, 0)',
        f"{ERASURE}::test_traces_that_a_killed_process_left_are_looked_for_at_the_next_start",
    ),
    "traces stay where rows were moved away": Mutation(
        "journal/scrubber.py",
        "                file.xWrite(bytes(end - begin), first * size + begin)",
        "                pass",
        f"{ERASURE}::test_no_trace_is_left_where_rows_were_moved_from_page_to_page[5]",
    ),
    "a deletion does not wait for the traces": Mutation(
        "journal/sqlite.py",
        "        return Erased(commit, clean)",
        "        return Erased(commit, commit)",
        f"{ERASURE}::test_it_is_done_when_the_file_could_be_gone_through[sync]",
    ),
    "a session is erased table by table": Mutation(
        "journal/writer.py",
        '            connection.execute("DELETE FROM session WHERE id = ?", (session,))',
        '            connection.execute("COMMIT; BEGIN IMMEDIATE")\n'
        '            connection.execute("DELETE FROM session WHERE id = ?", (session,))',
        f"{ERASURE}::test_a_session_is_erased_wholly_or_not_at_all_whenever_the_process_is_killed",
    ),
    "no floor is kept": Mutation(
        "journal/writer.py",
        "            raise_floor(connection, name_of(key, self._salt), floor, time.time())",
        "            pass",
        f"{ERASURE}::test_positions_go_on_over_a_restart_also_when_the_key_is_not_known_any_more",
    ),
    "an entry of a session that is not there begins one": Mutation(
        "journal/writer.py",
        "                self._check_floor(connection, key, floor)",
        "                pass",
        f"{ERASURE}::test_what_comes_late_of_an_erased_session_is_refused",
    ),
    "a snapshot of an erased session is kept": Mutation(
        "journal/statements.py",
        '"SELECT id FROM session WHERE tenant = ? AND session_id = ? AND floor < ?",',
        '"INSERT INTO session (tenant, session_id) VALUES (?, ?) "\n'
        '        "ON CONFLICT DO UPDATE SET touched_at = ? RETURNING id",',
        f"{ERASURE}::test_what_comes_late_of_an_erased_session_is_refused",
    ),
    "a report begins a session": Mutation(
        "actors/deleting.py",
        "        if error is None and not self.state.uid and self._is_first(self._OF_ITS_OWN):",
        "        if False:",
        f"{DELETING}::test_a_call_that_was_given_up_before_begins_no_session_by_its_end",
    ),
    "a call of an erased session ends one of the next": Mutation(
        "actors/machine/reports.py",
        "    if report.fence[0] <= draft.state.floor:",
        "    if False:",
        f"{MACHINE}/test_deleting.py::test_a_call_of_a_deleted_session_ends_none_of_the_next_that_has_its_id",
    ),
    "an undoing of an erased session stands for one of the next": Mutation(
        "supervisors/compensations.py",
        "    return order.key, order.call.call_id, order.call.idempotency_key",
        "    return order.key, order.call.call_id, order.key",
        f"{DELETING}::test_what_was_being_undone_is_undone_to_its_end",
    ),
    "deliveries of an erased session are made": Mutation(
        "actors/outbound.py",
        "        queue = self.queues.pop(key, None)",
        "        queue = None",
        f"{DELETING}::test_nothing_is_delivered_any_more",
    ),
    "a deletion that was not confirmed is not asked for again": Mutation(
        "actors/deleting.py",
        "            self.actor_inbox.put(Envelope(again), Lane.CONTROL)",
        "            pass",
        f"{DELETING}::test_a_deletion_that_the_journal_does_not_confirm_is_made_sure_of[lose]",
    ),
    "an erased session goes on with its old positions": Mutation(
        "actors/recorded.py",
        "        state = begun(self._key, recorded.floor)",
        "        state = self.state",
        f"{DELETING}::test_positions_go_on_over_a_deletion[memory]",
    ),
    "a clock that was set counts": Mutation(
        "journal/age.py",
        "        _set_back(connection, now)",
        "        pass",
        f"{RETENTION}::test_a_clock_that_was_set_deletes_nothing_early_nor_anything_never[8.0]",
    ),
    "a session is erased under its actor": Mutation(
        "supervisors/sweeper.py",
        "        if key in door.cells or key in door.leaving or upkeep.is_busy(key):",
        "        if False:",
        f"{RETENTION}::test_what_something_waits_for_is_not_deleted[memory]",
    ),
    "what is used is erased after all": Mutation(
        "journal/writer.py",
        '"AND (?3 IS NULL OR (unfinished = 0',
        '"AND (1 OR ?3 OR (unfinished = 0',
        f"{ERASURE}::test_what_is_in_use_is_not_erased_as_unused",
    ),
    "a gap in the positions is folded over": Mutation(
        "actors/machine/evolve.py",
        "        if entry.position != state.position + 1:",
        "        if False:",
        f"{MACHINE}/test_evolve.py::test_a_gap_or_a_repetition_is_a_corrupt_journal",
    ),
}


class Copy:
    """A copy of the project, in which tests are run.

    Args:
        folder: where it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # With what Python has compiled: it belongs to times and sizes, which are copied, too.
        shutil.copytree(
            ROOT,
            folder / "wavebreak",
            ignore=shutil.ignore_patterns(
                ".*", "*.egg-info", "docs", "examples", "benchmarks", "build", "dist"
            ),
        )

    def mutate(self, mutation: Mutation) -> None:
        """Break it."""
        file = self.folder / "wavebreak" / mutation.file
        source = file.read_text(encoding="utf-8")
        assert source.count(mutation.was) == 1, f"{mutation.file} has changed: mend the list above"
        file.write_text(source.replace(mutation.was, mutation.becomes), encoding="utf-8")

    def mend(self, mutation: Mutation) -> None:
        """Make it whole again."""
        shutil.copy2(ROOT / mutation.file, self.folder / "wavebreak" / mutation.file)

    def begin(self, *tests: str) -> subprocess.Popen[bytes]:
        """Run tests in it, with none of the plugins that they do not need: these take longest."""
        options = "-q", "-x", "-p", "no:cacheprovider", "-p", "pytest_timeout", "--tb=line"
        alone = {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            # A broken file must not leave behind what is taken for the whole one's.
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(self.folder),
        }
        with (self.folder / "printed").open("wb") as printed:
            return subprocess.Popen(
                [sys.executable, "-m", "pytest", *options, *tests],
                cwd=self.folder / "wavebreak",
                env={**os.environ, **alone},
                stdout=printed,
                stderr=subprocess.STDOUT,
            )

    def end(self, process: subprocess.Popen[bytes]) -> tuple[int, str]:
        """Wait for the run, and give its exit status and what it printed."""
        try:
            status = process.wait(timeout=55)
        finally:
            process.kill()
            process.wait()
        return status, (self.folder / "printed").read_text(encoding="utf-8")


class Runs:
    """Runs on mutated copies, one ahead of the one that is waited for.

    Args:
        names: of the mutations, in the order in which they are asked for.
        copies: two of them.
    """

    def __init__(self, names: Sequence[str], copies: Sequence[Copy]) -> None:
        self._coming = list(names)
        self._free = list(copies)
        self._under_way: dict[str, tuple[subprocess.Popen[bytes], Copy]] = {}

    def result(self, name: str) -> tuple[int, str]:
        """The exit status of a mutation's run, and what it printed."""
        if name in self._coming:
            self._begin(name)
        if self._coming:
            self._begin(self._coming[0])
        process, copy = self._under_way.pop(name)
        found = copy.end(process)
        copy.mend(MUTATIONS[name])
        self._free.append(copy)
        return found

    def _begin(self, name: str) -> None:
        self._coming.remove(name)
        mutation, copy = MUTATIONS[name], self._free.pop()
        copy.mutate(mutation)
        self._under_way[name] = copy.begin(mutation.test), copy

    def end(self) -> None:
        """Nobody asks any more."""
        for process, _ in self._under_way.values():
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> list[Copy]:
    return [Copy(tmp_path_factory.mktemp("mutated")) for _ in range(2)]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, copies: list[Copy]) -> Iterator[Runs]:
    ours = [item for item in request.session.items if item.path == request.path]
    names = [
        str(item.callspec.params["name"])
        for item in ours
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    runs = Runs(names, copies)
    yield runs
    runs.end()


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_the_suite_fails_when(name: str, runs: Runs) -> None:
    status, printed = runs.result(name)
    # 1: tests failed. Anything else means that they could not be run.
    assert status == 1, printed[-2000:]
    assert "1 failed" in printed


@pytest.mark.slow
def test_on_a_copy_that_is_whole_all_these_tests_pass(tmp_path: Path) -> None:
    whole = Copy(tmp_path)
    tests = {mutation.test for mutation in MUTATIONS.values()}
    status, printed = whole.end(whole.begin(*sorted(tests)))
    assert status == 0, printed[-2000:]
    assert f"{len(tests)} passed" in printed
