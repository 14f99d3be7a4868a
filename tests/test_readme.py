"""What the pages show runs as it stands and prints what they say, and what they name is there.

The python blocks of a page run one after the other in one namespace, as somebody would paste them
into ``python -m asyncio``, in virtual time; tests among them are run too. A ``text`` block behind
one is what it prints. Above the few that cannot run stands ``<!-- not run: why -->``.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
import re
import subprocess
import sys
from functools import cache
from itertools import zip_longest
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

import pykka
import pytest

from wavebreak import (
    ActorSystem,
    AsyncioActor,
    CallRecord,
    CancellationToken,
    Delivery,
    Effect,
    MessageOutcome,
    PartialResults,
    Plan,
    Planned,
    Receipt,
    Reply,
    Session,
    Tool,
    ToolCall,
    Turn,
    TurnEnded,
)
from wavebreak.actors.reference import LoopActorRef
from wavebreak.messages.events import AnyEvent
from wavebreak.messages.policies import Policy
from wavebreak.service import ServiceSettings
from wavebreak.testing import Gate, LeakCheck, RecordingDeliver, Run, VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"
PAGES: Final = [README, *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE: Final = (ROOT / "Makefile").read_text(encoding="utf-8")
NOT_RUN: Final = re.compile(r"<!-- not run: .+ -->")

for_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))


class Fence(NamedTuple):
    """A fenced block: its language, its first line's number, and what stands above it."""

    language: str
    line: int
    text: str
    above: str


class Block(NamedTuple):
    """Python code of a page, and what the page says that it prints."""

    line: int
    code: str
    prints: str


def fences(text: str) -> Iterator[Fence]:
    lines = text.splitlines()
    begin: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if begin is None:
            begin = number
            continue
        above = next((one for one in reversed(lines[:begin]) if one), "")
        body = "".join(f"{one}\n" for one in lines[begin + 1 : number])
        yield Fence(lines[begin].removeprefix("```"), begin + 2, body, above)
        begin = None
    assert begin is None, "a fence is not closed"


def blocks(page: Path) -> Iterator[Block]:
    found = list(fences(page.read_text(encoding="utf-8")))
    for fence, behind in zip_longest(found, found[1:]):
        if fence.language != "python" or NOT_RUN.fullmatch(fence.above):
            continue
        follows = behind is not None and behind.language == "text" and behind.above == "```"
        yield Block(fence.line, fence.text, behind.text if behind and follows else "")


def compiled(page: Path, block: Block) -> CodeType:
    """Compile it so that a traceback names the line in the page."""
    tree = compile(
        "\n" * (block.line - 1) + block.code,
        str(page),
        "exec",
        flags=ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        dont_inherit=True,
    )
    code = compile(tree, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    assert isinstance(code, CodeType)
    return code


def play(run: Run, function: Any) -> None:
    if inspect.iscoroutinefunction(function):
        run(function)
    else:
        function()


@for_each_page
def test_every_python_block_runs_and_prints_what_the_page_says(
    page: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(asyncio, "run", run)
    names = vars(module)
    for block in blocks(page):
        before = set(names)
        code = compiled(page, block)
        if code.co_flags & inspect.CO_COROUTINE:
            # What `eval` gives for code with an await at its top is a coroutine.
            run(eval(code, names))  # noqa: S307  our own pages
        else:
            exec(code, names)  # noqa: S102
        for name in sorted(set(names) - before):
            if name.startswith("test_"):
                play(run, names[name])
        assert capsys.readouterr().out == block.prints, f"{page.name}:{block.line}"


@pytest.mark.slow
def test_the_example_of_the_readme_runs_as_a_script_of_its_own(tmp_path: Path) -> None:
    block = next(blocks(README))
    script = tmp_path / "example.py"
    script.write_text(block.code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, block.prints, "")


def test_the_example_of_the_readme_is_short() -> None:
    code = next(blocks(README)).code
    assert len([line for line in code.splitlines() if line.strip()]) <= 26


# --- names ---


def in_code(text: str) -> Iterator[str]:
    """Give what a page sets as code: its blocks that are no drawing, and its spans."""
    for fence in fences(text):
        if fence.language in {"python", "sh", ""}:
            yield fence.text
    yield from spans(text)


def spans(text: str) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


@for_each_page
def test_every_make_command_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = {name for code in in_code(text) for name in re.findall(r"\bmake ([a-z][a-z-]*)", code)}
    assert sorted(named - targets()) == []


def test_the_readme_names_the_commands() -> None:
    text = README.read_text(encoding="utf-8")
    for name in ("run", "test", "test-fast", "check", "bench"):
        assert f"make {name}" in text


@for_each_page
def test_every_link_to_a_file_of_the_repository_leads_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    broken = [link for link in links if not _leads(page, link)]
    assert broken == []


@for_each_page
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    path = re.compile(r"\w[\w.-]*(?:/[\w.-]+)*(?:/|\.(?:py|md|toml))")
    named = {code for code in in_code(text) if path.fullmatch(code)}
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def _leads(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path) if path else page
    if not target.exists():
        return False
    return not anchor or anchor in _anchors(target)


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


OBJECTS: Final[dict[str, object]] = {
    "actor": AsyncioActor,
    "at_search": Gate,
    "call": ToolCall,
    "check": LeakCheck,
    "deliver": RecordingDeliver(),
    "delivery": Delivery,
    "event": TurnEnded,
    "loop": VirtualTimeLoop,
    "outcome": MessageOutcome,
    "plan": Plan,
    "planned": Planned,
    "previous": PartialResults,
    "receipt": Receipt,
    "record": CallRecord,
    "ref": LoopActorRef,
    "reply": Reply,
    "session": Session,
    "system": ActorSystem,
    "token": CancellationToken,
    "tool": Tool,
    "turn": Turn,
}
"""What the pages call their objects, and what these are."""


@for_each_page
def test_every_method_and_field_that_a_page_names_is_there(page: Path) -> None:
    words = rf"(?<![\w.])({'|'.join(OBJECTS)})\.(?!py\b)([a-z]\w*)"
    text = page.read_text(encoding="utf-8")
    missing = {
        f"{name}.{attribute}"
        for code in in_code(text)
        for name, attribute in re.findall(words, code)
        if not _has(OBJECTS[name], attribute)
    }
    assert sorted(missing) == []


def _has(named: object, attribute: str) -> bool:
    return hasattr(named, attribute) or attribute in getattr(named, "model_fields", ())


HTTP: Final = {
    *("DELETE", "GET", "HttpOnly", "PATCH", "POST", "SameSite", "Strict"),
    *("NAME", "SECONDS"),  # of the reader's own
    *(f"WAVEBREAK_{name.upper()}" for name in ServiceSettings.model_fields),
}
"""Words of the service's pages that are neither in our code nor Python's."""


@for_each_page
def test_every_class_and_constant_that_a_page_names_is_there(page: Path) -> None:
    text, _, _ = page.read_text(encoding="utf-8").partition("\n## Not here yet\n")
    named = {name for span in spans(text) for name in re.findall(r"\b[A-Z]\w{2,}", span)}
    own = set(re.findall(r"^class (\w+)", text, re.MULTILINE))
    known = words_of_the_package() | own | set(dir(pykka)) | set(dir(builtins)) | HTTP
    assert sorted(named - known) == []


@cache
def words_of_the_package() -> frozenset[str]:
    folders = "", "actors", "journal", "messages", "service", "supervisors", "testing", "tools"
    paths = [path for name in folders for path in (ROOT / name).glob("**/*.py" if name else "*.py")]
    return frozenset(
        word for path in paths for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))
    )


# --- tables that have to be whole ---


def table_under(page: Path, heading: str) -> list[str]:
    """Give the first column of the first table under a heading: the code in each cell."""
    _, _, rest = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    table = re.search(r"^\|.*\n\| ?-.*\n((?:\|.*\n)+)", rest, re.MULTILINE)
    assert table is not None, f"no table under {heading!r} in {page.name}"
    cells = [line.split("|")[1] for line in table.group(1).splitlines()]
    return [name for cell in cells for name in re.findall(r"`(\w+)", cell)]


def test_the_table_of_policies_has_them_all() -> None:
    named = table_under(README, "What a new message does to a running turn")
    assert named == [policy.__name__ for policy in get_args(Policy)]


def test_the_table_of_what_comes_back_has_every_field() -> None:
    named = table_under(README, "What comes back in `turn.previous`")
    assert set(named) == {*PartialResults.model_fields, "completed"}


def test_the_table_of_effects_has_them_all() -> None:
    named = table_under(README, "Effects of tools")
    assert named == [str(effect) for effect in Effect]


def test_the_table_of_events_has_them_all() -> None:
    named = table_under(ROOT / "docs" / "guide.md", "Events")
    kinds = [kind.model_fields["kind"].default for kind in get_args(get_args(AnyEvent)[0])]
    assert sorted(named) == sorted(kinds)
