from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from functools import partial
from pathlib import Path

import pytest

from wavebreak.examples import concierge

SCRIPT = Path(concierge.__file__)
COMMAND = [sys.executable, str(SCRIPT), "--speed", "20"]


def played(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.slow
def test_without_a_terminal_it_plays_a_conversation_with_interruptions_and_ends_well() -> None:
    ended = played()

    assert (ended.returncode, ended.stderr) == (0, "")
    story = [
        "Hello! A hotel in Lisbon",
        "wave 3 begins: 4 x availability, 4 x price",
        "With a pool",
        "you wrote again",
        "turn 1 has ended: interrupted; the results of 10 calls are kept",
        "turn 2 begins, on 2 messages",
        "carried over: understand",
        "carried over: 2 x availability, 2 x price",
        "I found in Lisbon with pool",
        "wave 4 begins: hold_room",
        "it must have breakfast",
        "turn 3 has ended: interrupted",
        "carried over: hold_room",
        "Held for you: The Yellow Tram",
        "Your code is H-001",
        "You are welcome",
    ]
    told = " ".join(ended.stdout.split())
    at = 0
    for words in story:
        assert words in told[at:], f"{words!r} is missing after: {told[:at]}"
        at = told.index(words, at) + len(words)
    assert "H-002" not in told


class Terminal:
    """Someone at a terminal, who reads everything and types."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "--speed", "4"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            # Its terminal, so that Ctrl-C is a signal; no threads here that this could disturb.
            preexec_fn=partial(fcntl.ioctl, slave, termios.TIOCSCTTY, 0),  # noqa: PLW1509
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, words: str, seconds: float = 15.0) -> None:
        give_up = time.monotonic() + seconds
        while words not in self.seen:
            left = give_up - time.monotonic()
            assert left > 0, f"{words!r} did not come; seen:\n{self.seen}"
            if select.select([self._master], [], [], left)[0]:
                self.seen += self._read()

    def close(self) -> int:
        """Read the rest, and give the exit status."""
        while rest := self._read():
            self.seen += rest
        os.close(self._master)
        return self.process.wait(10)

    def _read(self) -> str:
        try:
            return os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # the other side is closed
            return ""


@pytest.mark.slow
def test_in_a_terminal_one_can_write_while_it_works() -> None:
    terminal = Terminal()
    terminal.wait_for("you ")
    terminal.type("a hotel in Lisbon from friday, 3 nights\r")
    terminal.wait_for("wave 3 begins")
    terminal.type("with a pool, please\r")
    terminal.wait_for("you wrote again")
    terminal.wait_for("carried over: understand")
    terminal.wait_for("I found in Lisbon with pool")
    terminal.type("quit\r")

    assert terminal.close() == 0
    assert "Good-bye" in terminal.seen
    assert "Traceback" not in terminal.seen


@pytest.mark.slow
@pytest.mark.parametrize("leave", ["\x03", "\x04"])
def test_ctrl_c_and_the_end_of_input_leave_in_the_middle_of_a_turn(leave: str) -> None:
    terminal = Terminal()
    terminal.wait_for("you ")
    terminal.type("a hotel in Lisbon from friday, 3 nights\r")
    terminal.wait_for("wave 1 begins")
    terminal.type(leave)

    assert terminal.close() == 0
    assert "Good-bye" in terminal.seen
    assert "Traceback" not in terminal.seen


@pytest.mark.parametrize("speed", ["-1", "0", "nan", "fast"])
def test_a_speed_that_makes_no_sense_is_refused(
    speed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["concierge.py", "--speed", speed])

    with pytest.raises(SystemExit, match="2"):
        concierge.main()
    assert "--speed" in capsys.readouterr().err
