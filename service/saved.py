"""A session as one HTML file: the page's own view, with what it shows in it."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from .page import FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{css}
</style>
</head>
<body class="saved">
<main id="session" aria-label="Session {title}"></main>
<script type="application/json" id="told">{told}</script>
<script type="module">
{view}
const view = createView(document.getElementById("session"));
for (const {{ kind, data }} of JSON.parse(document.getElementById("told").textContent)) {{
  view.take(kind, data);
}}
view.draw();
</script>
</body>
</html>
"""


def saved_page(detail: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> str:
    """The page of a session.

    Args:
        detail: the session.
        told: its events, as a stream tells them.
    """
    # Nothing in the data may end the script element that holds it.
    data = json.dumps(list(told)).replace("<", "\\u003c")
    return _PAGE.format(
        title=html.escape(str(detail["session_id"])),
        css=(FOLDER / "app.css").read_text("utf-8"),
        view=(FOLDER / "view.js").read_text("utf-8"),
        told=data,
    )
