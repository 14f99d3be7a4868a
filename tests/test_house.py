"""The rules of the house: who may import whom, what is public, what is shipped, what runs."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent

OF_EXTRAS: Final = {
    "actors/loop_thread.py": "uvloop",
    "testing/plugin.py": "pytest",
    "tools/retrying.py": "tenacity",
}
"""The files of the core that may import what is of an extra, when it is asked for."""

CORE: Final = frozenset(
    {"messages", "tools", "journal", "actors", "supervisors", "settings", "system_face", "system"}
)
BELOW: Final[dict[str, frozenset[str]]] = {
    "messages": frozenset(),
    "tools": frozenset({"messages"}),
    "journal": frozenset({"messages"}),
    "actors": frozenset({"messages", "tools", "journal.base"}),
    "supervisors": frozenset({"messages", "actors", "journal.base"}),
    "settings": CORE - {"system", "system_face"},
    "system_face": CORE - {"system"},
    "system": CORE,
    "integrations": CORE,
    "service": CORE,
    "cluster": CORE,
    "testing": CORE,
    "cli": CORE | {"integrations", "service", "cluster"},
    "wavebreak": CORE,
}
"""DESIGN §2: what each folder, and each file at the root, may import of ours besides itself."""

SHIPPED: Final = sorted(
    path.parent.name
    for path in ROOT.glob("*/__init__.py")
    if path.parent.name not in {"tests", "examples", "benchmarks", "docs", "deploy", "build"}
)
CORE_DEPENDENCIES: Final = frozenset({"apsw", "loguru", "pydantic", "pydantic_core", "pykka"})
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

NOT_OURS: Final = frozenset({"build", "dist", "__pycache__"})
ELSEWHERE: Final = re.compile(
    r"(?<![\w.~])/(?:home|root|work|opt|tmp|Users|usr/local|var/tmp)/"
    r"|pypi\.org|pythonhosted|registry\.npmjs|index-url|find-links"
)
"""Paths of one machine, and addresses of registries."""


class Import(NamedTuple):
    where: str
    owner: str
    target: str


def files_of_the_package() -> list[Path]:
    return [
        *ROOT.glob("*.py"),
        *(path for name in SHIPPED for path in ROOT.glob(f"{name}/**/*.py")),
    ]


@cache
def imports_of(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return tuple(one for one in ast.walk(tree) if isinstance(one, ast.Import | ast.ImportFrom))


def owner_of(path: Path) -> str:
    """Give the folder of a file, or for one at the root its own name."""
    parts = path.relative_to(ROOT).parts
    if len(parts) > 1:
        return parts[0]
    return "wavebreak" if path.stem == "__init__" else path.stem


def own_imports(path: Path) -> Iterator[Import]:
    """Find what a file imports of ours, as dotted paths from the root."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in imports_of(path):
        if isinstance(node, ast.Import) or not node.level:
            continue
        base = package[: len(package) - node.level + 1]
        module = (*base, *(node.module or "").split(".")) if node.module else base
        where = f"{path.relative_to(ROOT)}:{node.lineno}"
        # `from . import a` names modules; `from .a import b` names what is in one.
        for target in [module] if node.module else [(*module, alias.name) for alias in node.names]:
            yield Import(where, owner_of(path), ".".join(target))


def absolute_imports(path: Path) -> Iterator[tuple[str, str]]:
    for node in imports_of(path):
        where = f"{path.relative_to(ROOT)}:{node.lineno}"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield where, alias.name.partition(".")[0]
        elif not node.level and node.module:
            yield where, node.module.partition(".")[0]


def is_allowed(found: Import) -> bool:
    allowed = {found.owner, *BELOW[found.owner]}
    return any(found.target == name or found.target.startswith(f"{name}.") for name in allowed)


for_each_file = pytest.mark.parametrize(
    "path", files_of_the_package(), ids=lambda path: str(path.relative_to(ROOT))
)


@for_each_file
def test_a_file_imports_of_ours_only_what_its_folder_may(path: Path) -> None:
    assert [found for found in own_imports(path) if not is_allowed(found)] == []


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("from ..messages.ids import Fence", True),
        ("from .. import messages", True),
        ("from .future import Future", True),
        ("from ..journal.base import Journal", True),
        ("from ..journal.memory import MemoryJournal", False),
        ("from ..supervisors import spec", False),
        ("from .. import system", False),
        ("if True:\n    from ..testing import gate", False),
    ],
)
def test_the_directions_are_told_apart(
    source: str, allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "actors" / "session.py"
    path.parent.mkdir()
    path.write_text(source, encoding="utf-8")
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    assert [is_allowed(found) for found in own_imports(path)] == [allowed]


@for_each_file
def test_a_file_of_the_package_imports_the_others_relatively(path: Path) -> None:
    # By its name the package might be another one: the one that is installed.
    assert [where for where, name in absolute_imports(path) if name == "wavebreak"] == []


@for_each_file
def test_a_file_of_the_core_imports_nothing_but_the_core_dependencies(path: Path) -> None:
    if owner_of(path) not in CORE | {"wavebreak", "testing"}:
        return
    foreign = [
        (where, name)
        for where, name in absolute_imports(path)
        if name not in CORE_DEPENDENCIES and name not in sys.stdlib_module_names
    ]
    optional = OF_EXTRAS.get(path.relative_to(ROOT).as_posix(), "")
    assert [(where, name) for where, name in foreign if name != optional] == []


@pytest.mark.slow
@pytest.mark.parametrize("extra", OF_EXTRAS.values())
def test_importing_the_package_does_not_import_what_is_of_an_extra(extra: str) -> None:
    code = f"import sys, wavebreak; sys.exit({extra!r} in sys.modules)"
    path = os.pathsep.join([str(ROOT / ".types"), *sys.path])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


def test_every_folder_with_code_is_listed_as_a_package_and_has_a_place_in_the_order() -> None:
    listed = PROJECT["tool"]["setuptools"]["packages"]
    packages = {
        ".".join(("wavebreak", *path.parent.relative_to(ROOT).parts))
        for name in SHIPPED
        for path in ROOT.glob(f"{name}/**/__init__.py")
    }
    assert sorted(listed) == sorted({"wavebreak", *packages})
    assert {owner_of(path) for path in files_of_the_package()} <= BELOW.keys()


EXPORTED: Final = """
ActorSystem AfterWave AsyncioActor Attachment CallFailed CallRecord CancellationToken
CancelledException Delivery Enqueue Future MessageOutcome Now OutcomeUnknown PartialResults Plan
Receipt Reply RestartPolicy RuntimeActor Session SessionActor SessionMessage Tool ToolCall Turn
TurnInfo TurnInterrupted UserMessage WaveInProgress WavebreakError WouldDeadlock current_call dep
run_waves tool
""".split()  # noqa: SIM905  a list would be forty lines
"""What was public once stays public; new names need not be told here."""


def test_what_is_public_stays_public() -> None:
    import wavebreak  # noqa: PLC0415  so that a failing import fails this test, not all of them

    assert sorted(set(EXPORTED) - set(wavebreak.__all__)) == []


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    import wavebreak  # noqa: PLC0415

    public = {name: getattr(wavebreak, name) for name in wavebreak.__all__}
    assert len(public) == len(wavebreak.__all__)
    undocumented = [
        name
        for name, value in public.items()
        if (inspect.isclass(value) or inspect.isroutine(value)) and not vars_doc(value)
    ]
    assert undocumented == []


def vars_doc(value: Any) -> str:
    """Give the docstring that is its own: a class would otherwise show its parent's."""
    return (vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__) or ""


@pytest.mark.parametrize("folder", SHIPPED)
def test_the_face_of_a_folder_is_short_and_true(folder: str) -> None:
    face = import_module(f"wavebreak.{folder}")
    assert face.__doc__
    assert len((ROOT / folder / "__init__.py").read_text(encoding="utf-8").splitlines()) <= 120
    assert [name for name in getattr(face, "__all__", []) if not hasattr(face, name)] == []


def texts_of_the_repository() -> Iterator[tuple[Path, str]]:
    for folder, names, files in os.walk(ROOT):
        names[:] = [
            name
            for name in names
            if name not in NOT_OURS
            and not name.endswith(".egg-info")
            and (not name.startswith(".") or name == ".ci")
        ]
        for file in files:
            path = Path(folder, file)
            try:
                yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def test_no_file_names_a_path_of_one_machine_or_the_address_of_a_registry() -> None:
    this = Path(__file__).relative_to(ROOT)
    found = [
        f"{path}: {match.group()}"
        for path, text in texts_of_the_repository()
        if path != this
        for match in ELSEWHERE.finditer(text)
    ]
    assert found == []


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines)


def test_the_constraints_are_names_and_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_every_dependency_is_pinned_within_its_bounds() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    wanted = [
        Requirement(text)
        for text in [*project["dependencies"], *(text for extra in extras for text in extra)]
        if not text.startswith("wavebreak")
    ]
    versions = {canonicalize_name(name): number for name, number in pinned().items()}
    assert [
        str(need)
        for need in wanted
        if not need.specifier.contains(versions.get(canonicalize_name(need.name), "0"))
    ] == []


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "py.typed").is_file()


def test_continuous_integration_runs_the_commands_that_the_readme_names() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text(encoding="utf-8").splitlines()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("make check", "make test", "make bench-guard"):
        assert command in lines
        assert command in readme
    assert "make run" in readme


def examples() -> list[Path]:
    """Find the scripts among the examples; the other files are what these import."""
    paths = sorted(ROOT.glob("examples/*.py"))
    return [path for path in paths if "__main__" in path.read_text(encoding="utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("example", examples(), ids=lambda path: str(path.name))
def test_an_example_plays_its_script_when_there_is_no_terminal(example: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


@pytest.mark.slow
def test_wheel_and_sdist_have_the_package_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "*.egg-info", *NOT_OURS))
    subprocess.run(
        # Without options the wheel is built from the sdist: so the sdist is enough to build it.
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(source)],
        capture_output=True,
        timeout=50,
        check=True,
    )
    package = {
        str(Path("wavebreak", path.relative_to(ROOT)))
        for path in [*files_of_the_package(), *ROOT.glob("service/static/*")]
    } | {"wavebreak/py.typed"}
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == package

    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        tops = {Path(name).parts[1] for name in archive.getnames() if "/" in name}
    assert tops.isdisjoint({"tests", "examples", "benchmarks", "docs", "deploy", ".ci", ".venv"})
    assert {"LICENSE", "README.md", "CHANGELOG.md", "py.typed", *SHIPPED} <= tops


def test_the_installed_package_has_the_version_of_the_project() -> None:
    assert version("wavebreak") == PROJECT["project"]["version"]
