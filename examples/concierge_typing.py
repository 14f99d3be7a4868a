"""A line to type at while other lines are printed above it."""

from __future__ import annotations

import asyncio
import codecs
import os
import re
import shutil
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

ENTER = "\r\n"
BACKSPACE = "\x7f\x08"
KILL_LINE, KILL_WORD, END_OF_INPUT = "\x15", "\x17", "\x04"
# Arrows and the like: there is no cursor to move here.
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|O.|.)?", re.DOTALL)


class TypedLine:
    """What has been typed so far, and what the keys do to it.

    Args:
        text: the line as it stands.
        ended: whether the end of the input was typed, on an empty line.
    """

    def __init__(self) -> None:
        self.text = ""
        self.ended = False
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, keys: bytes) -> list[str]:
        """Take keys, and give the lines that they finish."""
        finished: list[str] = []
        for key in ESCAPES.sub("", self._decoder.decode(keys)):
            if key in ENTER:
                finished.append(self.text)
                self.text = ""
            elif key == END_OF_INPUT:
                self.ended = self.ended or not self.text
            else:
                self.text = self._after(key)
        return finished

    def _after(self, key: str) -> str:
        if key in BACKSPACE:
            return self.text[:-1]
        if key == KILL_LINE:
            return ""
        if key == KILL_WORD:
            return re.sub(r"\S*\s*$", "", self.text)
        return self.text + key if key.isprintable() else self.text


class Typing:
    """The terminal's last line: a prompt, and what is being typed.

    Args:
        prompt: stands before what is typed.
    """

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._line = TypedLine()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._shown = 0

    async def lines(self) -> AsyncGenerator[str]:
        """Give each line when it is finished, until the input ends or Ctrl-C is typed."""
        reading = _by_thread(self._lines) if sys.platform == "win32" else self._by_key()
        with reading:
            self._show()
            while (line := await self._lines.get()) is not None:
                yield line
        print()

    @contextmanager
    def above(self) -> Generator[None]:
        """Make room for lines that are printed above what is being typed."""
        self._hide()
        try:
            yield
        finally:
            self._show()

    @contextmanager
    def _by_key(self) -> Generator[None]:
        """Have the terminal give every key at once and show none, as long as it lasts."""
        # Not at the top: Windows has no such terminals.
        import termios  # noqa: PLC0415
        import tty  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        keyboard = sys.stdin.fileno()
        before = termios.tcgetattr(keyboard)
        # NOW, not the default FLUSH, which would lose what was typed before.
        tty.setcbreak(keyboard, termios.TCSANOW)
        loop.add_reader(keyboard, self._keys, keyboard)
        loop.add_signal_handler(signal.SIGINT, self._lines.put_nowait, None)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            loop.remove_reader(keyboard)
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)

    def _keys(self, keyboard: int) -> None:
        keys = os.read(keyboard, 4096)
        self._hide()
        for line in self._line.feed(keys):
            print(self._prompt + line)
            self._lines.put_nowait(line)
        self._show()
        if self._line.ended or not keys:
            self._lines.put_nowait(None)

    def _hide(self) -> None:
        """Clear the rows that the line takes; the cursor stands at its end."""
        columns = shutil.get_terminal_size().columns
        up = max(0, self._shown - 1) // columns
        sys.stdout.write(f"\x1b[{up}A\r\x1b[J" if up else "\r\x1b[J")

    def _show(self) -> None:
        line = self._prompt + self._line.text
        self._shown = cell_len(line)
        sys.stdout.write(line)
        sys.stdout.flush()


@contextmanager
def _by_thread(lines: asyncio.Queue[str | None]) -> Generator[None]:
    """Read whole lines, which the terminal shows as it likes."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line.rstrip("\n"))
        loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, name="typing", daemon=True).start()
    yield
