"""The shape of the project, read from its source."""

import ast
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import networkx as nx
import pytest
import pytorch_lightning as pl

import fashret.engine.callbacks as callbacks
from fashret.engine.module import RetrievalModule

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fashret"

TESTS = ROOT / "tests"

ROOMS = {
    "hydra": ("cli/",),
    "omegaconf": ("cli/", "config.py"),
    "pytorch_lightning": ("engine/", "pipelines/"),
    "lightning_fabric": ("engine/", "pipelines/"),
    "open_clip": ("models/",),
    "peft": ("models/",),
    "starlette": ("demo/",),
}
"""Where each library may be imported."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imports(path: Path) -> set[str]:
    """What a file imports: within functions and for types alone as well."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else node.module)
    return found


def own_imports() -> dict[str, set[str]]:
    """By module of the package, the modules of the package that it imports."""
    return {name: imports(path) & MODULES.keys() for name, path in MODULES.items()}


def cycles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of nodes that lead to one another."""
    known: nx.DiGraph[str] = nx.DiGraph((a, b) for a, of in graph.items() for b in of)
    return [group for group in nx.strongly_connected_components(known) if len(group) > 1]


def test_no_file_imports_itself_by_way_of_others() -> None:
    graph = own_imports()
    assert sum(map(len, graph.values())) > 500
    assert cycles(graph) == []


def test_no_package_imports_itself_by_way_of_others() -> None:
    def package(module: str) -> str:
        return ".".join(module.split(".")[:2])

    graph: dict[str, set[str]] = {}
    for module, of in own_imports().items():
        others = {package(other) for other in of} - {package(module)}
        graph.setdefault(package(module), set()).update(others)
    assert len(graph) > 20
    assert cycles(graph) == []


def test_a_cycle_would_be_seen() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def test_libraries_stay_in_their_rooms() -> None:
    seen = set()
    for path in MODULES.values():
        where = path.relative_to(PACKAGE).as_posix()
        for module in imports(path):
            library = module.split(".")[0]
            if library in ROOMS:
                seen.add(library)
                assert where.startswith(ROOMS[library]), f"{where} imports {module}"
    assert seen == ROOMS.keys()


def test_nothing_but_the_command_line_prints() -> None:
    found = {
        path.relative_to(PACKAGE).parts[0]
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    }
    assert found == {"cli"}


@pytest.mark.run
@pytest.mark.parametrize("package", ["models", "losses", "miners", "evaluation", "catalog", "data"])
def test_neither_lightning_nor_hydra_is_reached_from(package: str) -> None:
    names = [name for name in MODULES if name.startswith(f"fashret.{package}")]
    lines = "; ".join(f"import {name}" for name in names)
    heavy = ("pytorch_lightning", "lightning_fabric", "hydra", "omegaconf")
    code = f"import sys; {lines}; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_hook_is_one_that_lightning_calls() -> None:
    count = 0
    classes = [(RetrievalModule, pl.LightningModule)]
    classes += [(getattr(callbacks, name), pl.Callback) for name in callbacks.__all__]
    for made, base in classes:
        for name in vars(made):
            if name.startswith("on_"):
                count += 1
                assert hasattr(base, name), f"{made.__name__}.{name} is called by nobody"
    assert count >= 8


@pytest.mark.parametrize("name", ["train", "evaluate", "build_catalog"])
def test_the_root_scripts_are_faces(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each calls its command, once, where it is run and not where it is imported."""
    calls: list[str] = []
    monkeypatch.setattr(f"fashret.cli.{name}.main", lambda: calls.append(name))
    runpy.run_path(str(ROOT / f"{name}.py"), run_name="imported")
    assert calls == []
    runpy.run_path(str(ROOT / f"{name}.py"), run_name="__main__")
    assert calls == [name]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts[f"fashret-{name.replace('_', '-')}"] == f"fashret.cli.{name}:main"


@pytest.mark.run
@pytest.mark.parametrize("module", ["fashret", "fashret.cli.train", "fashret.cli.main"])
def test_the_package_is_light_to_import(module: str) -> None:
    heavy = ("torch", "pytorch_lightning", "datasets", "transformers")
    heavy = (*heavy, "hydra", "omegaconf") if module != "fashret.cli.train" else heavy
    code = f"import sys, {module}; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_test_module_imports_another() -> None:
    """What several need is in tests/support."""
    seen = 0
    for path in sorted(TESTS.rglob("*.py")):
        seen += path.name.startswith("test_")
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(alias.name for alias in node.names)]
                assert node.level == 0, f"{path} has an import relative to itself"
            for part in (part for name in names for part in name.split(".")):
                assert not part.startswith("test_"), f"{path} imports {part}"
                assert part not in ("conftest", "tests"), f"{path} imports {part}"
    assert seen > 90


def test_the_tree_of_tests_is_that_of_the_package() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    assert len(folders) > 12
    for folder in folders:
        assert (PACKAGE / folder / "__init__.py").is_file(), f"tests/{folder} mirrors no package"
