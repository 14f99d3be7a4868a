"""What the command lines of the benchmarks have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, CycloptsError, Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE: Final = 2
"""The exit status of a command line that makes no sense."""

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
"""An option that is given or not."""


def app_of(script: str, doc: str | None) -> App:
    """Make the command line of a script.

    Args:
        script: its file's name.
        doc: its docstring; its paragraphs flow, except where the spaces of one set a table.
    """
    paragraphs = (doc or "").split("\n\n")
    return App(
        name=script,
        help="\n\n".join(p if "  " in p else " ".join(p.split("\n")) for p in paragraphs),
        help_format="plaintext",
        default_parameter=Parameter(negative_iterable=""),
        result_action="return_value",
        version_flags=[],
    )


def run_command(app: App, arguments: Sequence[str] | None) -> int:
    """Run a command line and give its exit status.

    Args:
        app: the command line.
        arguments: those of the process if None.
    """
    try:
        status: int | None = app(arguments, exit_on_error=False)
    except CycloptsError:  # which it has told
        return USAGE
    return status or 0  # --help gives none
