"""The page at ``/``: plain files, and headers that let them load nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi.responses import FileResponse, Response

from .problems import not_found

if TYPE_CHECKING:
    from fastapi import FastAPI

FOLDER: Final = Path(__file__).with_name("static")

_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def mount_page(app: FastAPI) -> None:
    """Serve the page and its files."""
    # Found once: no name in an address leads to another file.
    files = {file.name: file for file in FOLDER.iterdir() if file.suffix in _TYPES}

    def answer(name: str) -> FileResponse:
        file = files[name]
        return FileResponse(file, headers=_HEADERS, media_type=_TYPES[file.suffix])

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return answer("index.html")

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in files:
            raise not_found(f"file {name!r}")
        return answer(name)
