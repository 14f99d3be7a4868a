"""What the service logs, for its command: to standard error, without the words of messages."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Final, cast

from loguru import logger

if TYPE_CHECKING:
    from loguru import Record

_LINE: Final = "{time:YYYY-MM-DD HH:mm:ss.SSS} | {level: <8} | {name}:{line} - {message}\n"


def log_to_stderr(*, debug: bool = False, texts: bool = False) -> None:
    """Have ours and the server's warnings written to standard error.

    Args:
        debug: all, and not warnings only.
        texts: errors in their own words, in which there may be what users wrote; else they are
            told by their types and where they were raised.
    """
    level = "DEBUG" if debug else "WARNING"
    logger.remove()
    logger.add(
        sys.stderr,
        level=level,
        format=f"{_LINE}{{exception}}" if texts else _without_words,
        backtrace=False,
        diagnose=False,
    )
    logger.enable("wavebreak")
    logging.basicConfig(handlers=[_ToLoguru()], level=level, force=True)
    if not debug:
        # They warn of clients that do not speak HTTP, or go away, as often as those want.
        for name in ("uvicorn.error", "asyncio"):
            logging.getLogger(name).setLevel(logging.ERROR)


def _without_words(record: Record) -> str:
    caught = record["exception"]
    if caught is None or caught.value is None:
        return _LINE
    record["extra"]["raised"] = "\n".join(raised(caught.value))
    return f"{_LINE}{{extra[raised]}}\n"


def raised(error: BaseException) -> list[str]:
    """An error and what led to it: their types and places, and nothing that they say."""
    lines: list[str] = []
    if (before := error.__cause__ or error.__context__) is not None:
        lines += [*raised(before), "  then:"]
    lines += [line.rstrip() for line in traceback.format_tb(error.__traceback__)]
    kind = type(error)
    lines.append(f"{kind.__module__}.{kind.__qualname__} (WAVEBREAK_LOG_TEXTS=1 shows its words)")
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            lines += [f"  | {line}" for line in raised(each)]
    return lines


class _ToLoguru(logging.Handler):
    """Passes on what the server logs in the standard library's way."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on."""
        logger.opt(exception=record.exc_info).log(record.levelname, "{}", record.getMessage())
