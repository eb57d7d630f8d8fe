"""Imports run one way, dagster stays where it belongs, and nothing has effects when it is imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import spike_assets

PACKAGE = Path(spike_assets.__file__).parent
DECLARATIONS = {"granularity", "instruments", "market_hours", "partition_keys", "errors", "deadline"}
"""`errors` and `deadline` are words that everybody may use, as the declarations are."""

MAY_IMPORT: dict[str, set[str]] = {
    "granularity": set(),
    "instruments": {"errors"},
    "market_hours": {"granularity"},
    "partition_keys": {"granularity", "market_hours"},
    "errors": set(),
    "deadline": {"errors"},
    "settings": {"errors", "granularity", "instruments"},
    "core": DECLARATIONS,
    "store": DECLARATIONS,
    "sources": DECLARATIONS | {"core", "store", "settings"},
    "alerts": DECLARATIONS | {"core", "store", "settings"},
    "pipeline": DECLARATIONS | {"core", "store", "settings", "sources", "alerts"},
    "reporting": DECLARATIONS | {"store", "settings", "alerts"},
}
BELOW = set(MAY_IMPORT)
TOP = {
    "defs": BELOW,
    "definitions": BELOW | {"defs"},
    "dashboard": BELOW,
    "cloud": BELOW,
    "cli": BELOW | {"defs", "definitions", "dashboard", "cloud"},  # it may start the others
}
RULES = MAY_IMPORT | TOP
PROGRAMS = {"defs/materialize.py": {"definitions"}}
"""Modules that are also programs of their own, `python -m`, and what only the program imports."""
DAGSTER = {"dagster", "dagster_duckdb", "dagster_graphql", "dagster_webserver", "dagster_shared"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def noun(path: Path) -> str:
    """Give the part of the package that a module belongs to: `store` for `store/data.py`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Give the full names of all modules that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "spike_assets" else {module}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("spike_assets.")}
    mine = noun(path)
    if mine == "__init__":
        assert not ours
    else:
        assert ours <= RULES[mine] | {mine} | PROGRAMS.get(str(path.relative_to(PACKAGE)), set())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_dagster_is_imported_in_its_place_only(path: Path) -> None:
    if noun(path) not in {"defs", "definitions"}:
        roots = {name.split(".")[0] for name in imported(path)}
        # The command line imports it inside the functions that start it.
        assert not roots & DAGSTER or noun(path) == "cli"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


FRESH = [
    ".".join(("spike_assets", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in MODULES
    if noun(path) not in {"defs", "definitions"}
]


def test_nothing_else_brings_dagster_in_or_touches_anything(tmp_path: Path) -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {FRESH!r}: importlib.import_module(name)\n"
        f"print(sorted({DAGSTER!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PATH": "", "PYTHONPATH": str(PACKAGE.parent), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.stdout.strip()) == ("", "[]")
    assert not list(tmp_path.iterdir())
