"""Sessions and events in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLOURS = {
    "running": "green",
    "stopping": "yellow",
    "failed": "red",
    "completed": "green",
    "unknown": "red",
    "cancelled": "yellow",
    "skipped": "dim",
    "finished": "green",
    "interrupted": "yellow",
    "stopped": "yellow",
}


def text_of(reply: Any) -> str:
    """The words of a reply; none of none."""
    return str(reply["text"]) if reply else ""


def word(status: object) -> Text:
    """A status, in its colour."""
    return Text(str(status), style=_COLOURS.get(str(status), ""))


def sessions_table(sessions: list[dict[str, Any]]) -> Table:
    """Sessions, a line each."""
    table = Table(box=None, header_style="bold")
    for head in ("session", "tenant", "status", "turn", "wave", "calls", "waiting"):
        table.add_column(head)
    for each in sessions:
        table.add_row(
            Text(each["session_id"]),
            Text(each["tenant"]),
            word(each["status"]),
            *(str(each[name] or "") for name in ("turn", "wave", "calls_completed", "waiting")),
        )
    return table


def session_tree(session: Mapping[str, Any], turns: list[dict[str, Any]]) -> Tree:
    """A session with its turns and their calls."""
    head = Text.assemble(session["session_id"], "  ", word(session["status"]))
    tree = Tree(head)
    for turn in turns:
        label = Text.assemble(f"turn {turn['number']}  ", word(turn["outcome"] or "running"))
        if turn["reason"]:
            label.append(f" ({turn['reason']})")
        branch = tree.add(label)
        for call in turn["calls"]:
            carried = "  carried over" if call["answered_from"] else ""
            branch.add(
                Text.assemble(
                    f"wave {call['wave']}  {call['tool']}  ",
                    word(call["status"] or "running"),
                    (carried, "cyan"),
                )
            )
        if turn["reply"]:
            branch.add(Text(turn["reply"]["text"], style="bold"))
    for message in session["queue"]:
        tree.add(Text(f"waits: {message['message'].get('text', '')}", style="dim"))
    return tree


def supervision_tree(node: Mapping[str, Any], into: Tree | None = None) -> Tree:
    """Who runs under whom."""
    label = Text.assemble(node["id"], "  ", (node["kind"], "dim"), "  ", word(node["state"]))
    if node["detail"]:
        label.append(f"  {node['detail']}")
    if node["restarts"]:
        label.append(f"  restarted {node['restarts']} times", style="yellow")
    if node["count"] > len(node["children"]):
        label.append(f"  {node['count']} in all", style="dim")
    tree = Tree(label) if into is None else into.add(label)
    for child in node["children"]:
        supervision_tree(child, tree)
    return tree


def in_a_line(kind: str, event: Mapping[str, Any]) -> Text:
    """An event in a line."""
    position = event.get("position")
    head = f"{position if position is not None else '':>6}  {kind:<20}"
    return Text.assemble((head, "dim"), " ", _words(kind, event))


def _words(kind: str, event: Mapping[str, Any]) -> Text:
    match kind:
        case "message_accepted":
            return Text(str(event["message"].get("text", "")), style="bold")
        case "wave_started":
            return Text(", ".join(call["tool"] for call in event["calls"]))
        case "call_ended":
            return Text.assemble(f"{event['tool']}  ", word(event["status"]))
        case "turn_ended":
            return Text.assemble(word(event["outcome"]), f"  {text_of(event.get('reply'))}")
        case "message_ended":
            return word(event["status"])
        case _:
            return Text(str(event.get("text") or event.get("reason") or ""))
