"""The tree keeps its directions: who imports whom, who spells names, who reads the environment."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import looopy_otel
from looopy_otel.core import semconv

ROOT = Path(looopy_otel.__file__).parent

# Who may import whom, of ours; every package may import itself.
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "pricing": {"core"},
    "privacy": {"core"},
    "mapping": {"core"},
    "agent": {"core", "pricing"},
    "providers": {"core", "store"},
    "web": {"core", "store"},
    "store": {"core"},
    "record": {"core", "mapping", "pricing", "privacy"},
    "instrument": {"core", "record"},
    "export": {"core", "store"},
}
ANYTHING = {"telemetry", "pipeline", "cli", "testing"}
ENTRY_POINTS = {"__init__", "__main__", "semconv"}
WITHOUT_OPENTELEMETRY = {
    "core", "pricing", "privacy", "mapping", "agent", "providers", "web", "store", "instrument", "semconv", "__init__",
}  # fmt: skip
WITHOUT_SDK = {*WITHOUT_OPENTELEMETRY, "record", "cli", "__main__"}


def modules() -> Iterator[tuple[str, Path, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield parts[0], path, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_package(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "looopy_otel" and len(parts) > 1 else None


def test_every_package_of_the_tree_has_a_row_in_the_table() -> None:
    packages = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert packages <= set(ALLOWED) | ANYTHING
    loose = {path.stem for path in ROOT.glob("*.py")}
    assert loose <= ANYTHING | ENTRY_POINTS


def test_import_directions() -> None:
    wrong: list[str] = []
    for package, path, tree in modules():
        if package in ANYTHING | ENTRY_POINTS:
            continue
        for name in imports(tree):
            target = own_package(name)
            if target is not None and target != package and target not in ALLOWED[package]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_only_the_command_line_the_test_kit_and_the_facade_import_the_composition_root() -> None:
    importers = {
        package
        for package, _, tree in modules()
        for name in imports(tree)
        if own_package(name) in {"telemetry", "pipeline"}
    }
    assert importers <= {"cli", "testing", "__init__", "telemetry"}


def test_where_opentelemetry_may_be_imported() -> None:
    wrong: list[str] = []
    for package, path, tree in modules():
        for name in imports(tree):
            sdk = name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))
            if (name.startswith("opentelemetry") and package in WITHOUT_OPENTELEMETRY) or (
                sdk and package in WITHOUT_SDK
            ):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_there_is_no_import_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for _, path, tree in modules():
        module = ".".join(("looopy_otel", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        graph[module] = run_time_imports(tree)
    known = set(graph)
    edges = {module: {nearest(name, known) for name in names} - {None, module} for module, names in graph.items()}
    state: dict[str, int] = {}

    def visit(module: str, trail: tuple[str, ...]) -> None:
        state[module] = 1
        for target in sorted(filter(None, edges[module])):
            assert state.get(target) != 1, f"import cycle: {' -> '.join((*trail, module, target))}"
            if target not in state:
                visit(target, (*trail, module))
        state[module] = 2

    for module in sorted(edges):
        if module not in state:
            visit(module, ())


def run_time_imports(tree: ast.Module) -> set[str]:
    """Names that are imported when the module is; those under TYPE_CHECKING or inside functions are not."""
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return set(imports(ast.Module(body=list(top), type_ignores=[])))


def nearest(name: str, known: set[str]) -> str | None:
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


PREFIXES = ("gen_ai.", "langfuse.", "looopy.", "x-litellm-", "x-langfuse-")
OWN_NAMES = {value for name, value in vars(semconv).items() if name.isupper() and "." in str(value)}


def test_names_that_go_on_a_wire_are_spelled_only_in_semconv() -> None:
    prefixes = "|".join(map(re.escape, PREFIXES))
    wrong = [
        f"{path.relative_to(ROOT)}:{line} {text!r}"
        for _, path, tree in modules()
        if path != ROOT / "core" / "semconv.py"
        for line, text in literals(tree)
        if text in OWN_NAMES or re.fullmatch(rf"({prefixes})[\w.\-]*", text)
    ]
    assert not wrong


def literals(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_the_environment_is_read_only_in_config() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for _, path, tree in modules()
        if path != ROOT / "core" / "config.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}
    ]
    assert not wrong


BROAD_EXCEPT_HOMES = {"core/guard.py"}
"""Where `except Exception` may stand besides the places listed in `DATA_FAILURES`."""

DATA_FAILURES = {"agent/tools.py", "core/snapshot.py"}
"""Where a failure of the user's code becomes data."""


def test_broad_excepts_stand_only_where_failures_become_data() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for _, path, tree in modules()
        if path.relative_to(ROOT).as_posix() not in BROAD_EXCEPT_HOMES | DATA_FAILURES | THROWN_ON
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and is_broad(node) and not reraises(node)
    ]
    assert not wrong


THROWN_ON = {"instrument/wrap.py"}
"""Where what a consumer throws into a generator is thrown into the one behind it."""


def is_broad(handler: ast.ExceptHandler) -> bool:
    names = {getattr(node, "id", "") for node in ast.walk(handler.type)} if handler.type else {"BaseException"}
    return bool(names & {"Exception", "BaseException"})


def reraises(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) for node in ast.walk(handler))


@pytest.mark.parametrize("forbidden", ["utils", "helpers", "manager", "misc", "common"])
def test_no_file_is_named_after_nothing(forbidden: str) -> None:
    assert not [path for path in ROOT.rglob("*.py") if forbidden in path.stem]
