"""The shape of the project, read from its source."""

import ast
from pathlib import Path

import pytorch_lightning as pl

import fashret.engine.callbacks as callbacks
from fashret.engine.module import RetrievalModule

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fashret"

LAYERS = [
    {"cli"},
    {"engine", "reports", "demo", "config", "allowlist"},
    {"catalog"},
    {"models", "losses", "miners", "metrics", "protocols", "data"},
    {"functional"},
    {"types", "errors", "progress"},
]
"""Imports go from a layer to itself and downwards."""

# The data module serves a catalog's features to a metric's protocol, and a miner's protocol names
# the batches that it fills: the two places that look upwards.
UPWARDS = {
    ("data/datamodule.py", "catalog"),
    ("types.py", "data"),
}

ALLOWED = {
    "pytorch_lightning": ("engine/", "data/datamodule.py", "cli/"),
    "hydra": ("config.py", "cli/"),
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
            if (where, parts[1]) not in UPWARDS:
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


def test_the_root_scripts_are_faces() -> None:
    for name in ("train", "evaluate", "build_catalog"):
        lines = (ROOT / f"{name}.py").read_text().splitlines()
        assert len([line for line in lines if line]) == 3


def test_the_package_is_light_to_import() -> None:
    import subprocess
    import sys

    code = "import sys, fashret.cli.train; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
