"""The service: sessions over HTTP, with events, access, and a page to watch them work.

Needs the extra: ``pip install 'wavebreak[service]'``.
"""

from __future__ import annotations

from .extra import require

require()

from .access import Access, Scope, TokenRule, new_token  # noqa: E402 - not before it was looked for
from .app import create_app  # noqa: E402
from .server import serve  # noqa: E402
from .settings import ServiceSettings  # noqa: E402

__all__ = [
    "Access",
    "Scope",
    "ServiceSettings",
    "TokenRule",
    "create_app",
    "new_token",
    "serve",
]
