from __future__ import annotations

import os
import subprocess
import sys
from errno import ENOSPC
from io import FileIO
from pathlib import Path

import pytest

from wavebreak.journal import place
from wavebreak.journal.place import ProcessLock, refuse_network
from wavebreak.messages.errors import JournalError, JournalLocked

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/a rw
23 22 0:5 / /srv rw - nfs4 server:/srv rw
24 23 254:0 /x /srv/local rw shared:2 - ext4 /dev/b rw
25 22 0:6 / /with\\040blank rw - fuse.sshfs me@host: rw
26 22 254:0 / /over rw - cifs //a/b rw
27 22 254:0 / /over rw - xfs /dev/c rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/j.db", "nfs4"),
        ("/srv/deep/er/j.db", "nfs4"),
        ("/with blank/j.db", "fuse.sshfs"),
        ("/j.db", None),
        ("/srvx/j.db", None),
        ("/srv/local/j.db", None),
        ("/over/j.db", None),
    ],
)
def test_a_network_file_system_is_refused(path: str, kind: str | None, tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_text(MOUNTS, encoding="utf-8")
    if kind is None:
        refuse_network(Path(path), table)
        return
    with pytest.raises(JournalError, match=rf"\({kind}\).*local disk"):
        refuse_network(Path(path), table)


def test_a_machine_that_does_not_say_what_is_mounted_is_trusted(tmp_path: Path) -> None:
    refuse_network(tmp_path / "j.db", tmp_path / "there is no such table")


def test_a_lock_is_for_one_at_a_time_and_says_who_has_it(tmp_path: Path) -> None:
    first, second = ProcessLock(tmp_path / "j.db"), ProcessLock(tmp_path / "j.db")
    first.take()
    with pytest.raises(JournalLocked, match=f"process {os.getpid()}"):
        second.take()
    first.give_back()
    second.take()
    second.give_back()


def test_a_full_disk_keeps_nobody_from_the_lock_nor_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(FileIO):
        def write(self, data: object, /) -> int:
            raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(place, "FileIO", Full)
    first, second = ProcessLock(tmp_path / "j.db"), ProcessLock(tmp_path / "j.db")
    first.take()
    with pytest.raises(JournalLocked, match="another process"):
        second.take()
    first.give_back()
    second.take()
    second.give_back()


@pytest.mark.slow
def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    holds = (
        "import sys; from pathlib import Path; from wavebreak.journal.place import ProcessLock\n"
        "lock = ProcessLock(Path(sys.argv[1])); lock.take(); print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    lock = ProcessLock(tmp_path / "j.db")
    with subprocess.Popen(
        [sys.executable, "-c", holds, str(tmp_path / "j.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(JournalLocked, match=f"process {process.pid}"):
            lock.take()
        process.kill()
    lock.take()
    lock.give_back()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_lock_is_not_kept_by_what_its_process_has_forked(tmp_path: Path) -> None:
    forks = (
        "import os, sys; from pathlib import Path\n"
        "from wavebreak.journal.place import ProcessLock\n"
        "lock = ProcessLock(Path(sys.argv[1])); lock.take()\n"
        "if os.fork() == 0: print('forked', flush=True)\n"
        "sys.stdin.read()"
    )
    lock = ProcessLock(tmp_path / "j.db")
    with subprocess.Popen(
        [sys.executable, "-c", forks, str(tmp_path / "j.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"forked\n"
        with pytest.raises(JournalLocked, match=f"process {process.pid}"):
            lock.take()
        process.kill()
        process.wait()
        lock.take()  # the other one lives: its input is not at its end
        lock.give_back()
