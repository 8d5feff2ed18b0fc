"""fashret fine-tunes and evaluates embedding models for product search in fashion.

    import fashret

    run = fashret.train("trainer.max_epochs=2")      # the built-in sample set and model
    run.model.encode_text(["red v-neck cardigan"])   # (1, D) float32
    fashret.search(run, text="red v-neck cardigan")

The package is light to import: torch, Lightning and Hydra are loaded by what needs them.
"""

from typing import TYPE_CHECKING, Any

from fashret.errors import (
    CatalogError,
    CheckpointError,
    ConfigError,
    DataError,
    FashretError,
    RegressionError,
    TrainingError,
)
from fashret.version import __version__

if TYPE_CHECKING:
    from fashret.api import build_catalog, evaluate, export, load, prepare, search, train
    from fashret.models.retriever import Retriever
    from fashret.models.spec import ModelSpec
    from fashret.pipelines.evaluate import EvaluateResult
    from fashret.pipelines.search import SearchResult
    from fashret.pipelines.train import TrainResult

_LAZY = {
    "EvaluateResult": "fashret.pipelines.evaluate",
    "ModelSpec": "fashret.models.spec",
    "Retriever": "fashret.models.retriever",
    "SearchResult": "fashret.pipelines.search",
    "TrainResult": "fashret.pipelines.train",
    "build_catalog": "fashret.api",
    "evaluate": "fashret.api",
    "export": "fashret.api",
    "load": "fashret.api",
    "prepare": "fashret.api",
    "search": "fashret.api",
    "train": "fashret.api",
}
"""The modules of public names that are imported on first use."""

__all__ = [
    "CatalogError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "EvaluateResult",
    "FashretError",
    "ModelSpec",
    "RegressionError",
    "Retriever",
    "SearchResult",
    "TrainResult",
    "TrainingError",
    "__version__",
    "build_catalog",
    "evaluate",
    "export",
    "load",
    "prepare",
    "search",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module 'fashret' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """List the public names, for completion in a shell."""
    return sorted([*globals(), *_LAZY])
