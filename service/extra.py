"""Whether the libraries of the service are installed."""

from __future__ import annotations

from importlib.util import find_spec

from ..messages.errors import MissingExtra

NEEDED = ("fastapi", "uvicorn", "pydantic_settings", "cyclopts", "httpx2", "rich")
"""What the extra ``service`` brings."""


def require() -> None:
    """See to it that everything is there.

    Raises:
        MissingExtra: something is not.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        msg = f"the service needs {', '.join(missing)}: pip install 'wavebreak[service]'"
        raise MissingExtra(msg)
