"""The shape of the project, read from its source."""

import ast
import runpy
import tomllib
from pathlib import Path

import pytest
import pytorch_lightning as pl

import fashret.engine.callbacks as callbacks
from fashret.engine.module import RetrievalModule

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fashret"

TESTS = ROOT / "tests"

LAYERS = [
    {"cli"},
    {"demo", "pipelines"},
    {"engine"},
    {"reports"},
    {"evaluation"},
    {"catalog", "miners"},
    {"loading"},
    {"data", "losses", "models"},
    {"tasks"},
    {"functional"},
    {"allowlist", "config", "launch_env"},
    {"cpu", "errors", "process_sync", "progress", "types"},
]
"""Imports go from a layer to itself and downwards."""

ALLOWED = {
    "pytorch_lightning": ("engine/", "pipelines/", "cli/"),
    "hydra": ("config.py", "pipelines/", "cli/"),
    "open_clip": ("models/",),
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def layer(name: str) -> int | None:
    return next((i for i, names in enumerate(LAYERS) if name in names), None)


def test_imports_run_one_way() -> None:
    seen = 0
    for path in PACKAGE.rglob("*.py"):
        where = path.relative_to(PACKAGE).as_posix()
        own = layer(where.split("/")[0].removesuffix(".py"))
        for module in imports(path):
            parts = module.split(".")
            if parts[0] != "fashret" or len(parts) == 1 or own is None:
                continue
            seen += 1
            other = layer(parts[1])
            assert other is not None, f"{where} imports {module}, which is in no layer"
            assert own <= other, f"{where} imports {module}, which lies above it"
    assert seen > 80


def test_libraries_stay_in_their_rooms() -> None:
    for path in PACKAGE.rglob("*.py"):
        where = path.relative_to(PACKAGE).as_posix()
        for module in imports(path):
            rooms = ALLOWED.get(module.split(".")[0])
            assert rooms is None or where.startswith(rooms), f"{where} imports {module}"


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
def test_the_package_is_light_to_import() -> None:
    import subprocess
    import sys

    code = "import sys, fashret.cli.train; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


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
