"""fashret from Python: what the commands do, as functions that return objects.

    import fashret

    run = fashret.train("data=folder", "data.root=photos", "data.table=items.csv")
    run.scoreboard
    run.model.encode_text(["red v-neck cardigan"])
    fashret.search(run, text="red v-neck cardigan", where={"category": "cardigans"})

Overrides are those of the command line, as strings. Everything works in a notebook, in a script
without a main guard, from several threads, and more than once in a process.
"""

import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fashret.errors import CatalogError, CheckpointError, ConfigError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from fashret.catalog.folder import Catalog
    from fashret.cli.options import Composed
    from fashret.data.items import ItemTable
    from fashret.models.encoding import Photo
    from fashret.models.retriever import Retriever
    from fashret.models.spec import ModelSpec
    from fashret.pipelines.evaluate import EvaluateResult
    from fashret.pipelines.search import SearchResult
    from fashret.pipelines.train import TrainResult

log = logging.getLogger("fashret")

_INDEX_LOCK = threading.RLock()
"""Held while an index is opened, so that concurrent searches open it once."""


def prepare(*overrides: str) -> "ItemTable":
    """Prepare a data set, or open it if it has been prepared.

    Args:
        overrides: overrides of `data` and `paths`, such as "data=folder", "data.root=photos".

    Returns:
        The item table: `.dataset` (a Hugging Face data set, one row per item), `.report` (what was
        kept, dropped and repaired, and why), `.key` (its key in the cache).

    Raises:
        ConfigError: an override names an unknown key or option, or its value is not allowed.
        DataError: the data cannot be used.
    """
    from fashret.data.preparation import prepare as prepare_table

    with _composed("build_catalog", overrides) as composed:
        options = composed.session()
    return prepare_table(options.source, options.cache_dir)


def train(*overrides: str) -> "TrainResult":
    """Train a model, as `fashret train` does.

    Args:
        overrides: overrides of conf/train.yaml, such as "model=vitb32", "trainer.max_epochs=10".

    Returns:
        The result: `.model` (the trained retriever), `.scoreboard`, `.metrics` and `.folder` (the
        run folder, which `load`, `evaluate` and `search` take as well).

    Raises:
        FashretError: see `fashret.errors`.
    """
    from fashret.cli.composing import write_hydra_folder
    from fashret.cli.options import train_options
    from fashret.pipelines.publish import check_regressions
    from fashret.pipelines.train import train as run

    with _composed("train", overrides) as composed:
        if composed.cfg.dry_run:
            raise ConfigError("dry_run=true trains nothing: it is for the command line")
        options = train_options(composed)
        write_hydra_folder(composed)
    result = _of_rank_zero(run(options))
    check_regressions(options.report, result.scoreboard)
    return result


def evaluate(*overrides: str) -> "EvaluateResult":
    """Evaluate a run, a checkpoint, a catalog or a model, as `fashret evaluate` does.

    Args:
        overrides: of conf/evaluate.yaml, such as `"run=<run folder>"`, `"protocol=keyword"`.

    Returns:
        The result: `.scoreboard`, `.metrics`, `.folder`, `.evaluation` (every ranking).

    Raises:
        FashretError: see `fashret.errors`.
    """
    from fashret.cli.options import evaluate_options
    from fashret.pipelines.evaluate import evaluate as run
    from fashret.pipelines.publish import check_regressions

    with _composed("evaluate", overrides) as composed:
        options = evaluate_options(composed)
    result = _of_rank_zero(run(options))
    check_regressions(options.report, result.scoreboard)
    return result


def build_catalog(*overrides: str) -> "Catalog":
    """Build the catalog of a data set's embeddings, or open it if it exists.

    Args:
        overrides: of conf/build_catalog.yaml, such as `"run=<run folder>"` and
            `"catalog.dir=<folder>"`.

    Returns:
        The verified catalog: `.image`, `.text` (N, D), `.meta()`, `.folder`.

    Raises:
        FashretError: see `fashret.errors`.
    """
    from fashret.cli.options import catalog_options
    from fashret.pipelines.catalog import build_catalog as run

    with _composed("build_catalog", overrides) as composed:
        options = catalog_options(composed)
    if options.part is not None:
        raise ConfigError(
            f"catalog.part={options.part} builds no catalog: it is for jobs of the command line"
        )
    return _of_rank_zero(run(options))


def export(source: "str | Path | TrainResult", out: str | Path, *, half: bool = True) -> Path:
    """Export a trained model as a folder that open_clip reads, with its heads folded in.

    Args:
        source: a training result, a run folder, or a checkpoint file.
        out: the folder to write: a new one, or one with an earlier export.
        half: whether weights are stored in half precision.

    Returns:
        The folder, which `load` reads, and open_clip as a `local-dir`.

    Raises:
        CheckpointError: there is no such run or checkpoint.
        ConfigError: the folder contains something else.
    """
    from fashret.models.checkpoint import checkpoint_path, read_checkpoint
    from fashret.models.spec import ModelSpec
    from fashret.pipelines.export import ExportOptions
    from fashret.pipelines.export import export as run
    from fashret.pipelines.train import TrainResult

    path = source.folder if isinstance(source, TrainResult) else Path(source).expanduser()
    folder, ckpt = (None, str(path)) if path.is_file() else (str(path), "last")
    config, _ = read_checkpoint(checkpoint_path(folder, ckpt))
    spec = ModelSpec.from_config(config, str(path))
    out = Path(out).expanduser()
    run(ExportOptions(model=spec, out=out, run=folder, ckpt=ckpt, half=half))
    return out


def search(
    source: "TrainResult | EvaluateResult | str | Path",
    *,
    text: "str | NDArray[np.floating[Any]] | None" = None,
    image: "Photo | NDArray[np.floating[Any]] | None" = None,
    item: str | None = None,
    k: int = 10,
    where: Mapping[str, str | Sequence[str]] | None = None,
    weight_image: float = 0.7,
    weights: Mapping[str, float] | None = None,
    by: str = "item",
    model: "Retriever | None" = None,
) -> "SearchResult":
    """Search the items of a data set by text, by photo, or by both.

    A text or a photo alone is compared with the items' photos; together they are fused as in
    evaluation: w (photo . photo) + (1 - w) (text . text).

    Args:
        source: a training or evaluation result, a run folder, or a catalog folder.
        text: the query text; or its embedding, for items whose embeddings were imported: (D,)
            floats of the model that made them.
        image: a file, a PIL image, encoded bytes or an (H, W, 3) uint8 array; or (D,) floats, an
            embedding as above.
        item: the id of an item whose photo is the query, in place of `image`.
        k: the number of hits, at least 1.
        where: filters by category or attribute, {"category": "dress"}; a list allows any of its
            values.
        weight_image: the weight w of the photo in a query of both, 0 to 1.
        weights: query-time weights of the model's attribute heads, {"neckline": 0.5}.
        by: what is ranked: "item", or "product" for the best photo of each product.
        model: for a catalog folder, the model that embeds the query; by default the one that the
            catalog was built with.

    Returns:
        The hits, best first; in a notebook with their photos.

    Raises:
        ConfigError: neither text, image nor item is given, or no item has a value of `where`.
        CatalogError: the folder is neither a run nor a complete catalog.
    """
    result: SearchResult = _index(source, model).search(
        text=text,
        image=image,
        item=item,
        k=k,
        where=where,
        weight_image=weight_image,
        weights=weights,
        by=by,
    )
    return result


def load(
    source: "str | Path | ModelSpec" = "tiny",
    *,
    device: "str | torch.device" = "auto",
    cache_dir: str | Path | None = None,
) -> "Retriever":
    """Load a model that encodes photos and texts, without Lightning and Hydra.

    Args:
        source: a run folder, a checkpoint file, an exported folder, "tiny" for the small model
            that comes with fashret, or a `ModelSpec` for any open_clip model.
        device: auto, cpu, cuda, mps.
        cache_dir: the folder of downloaded weights; None for the default cache.

    Returns:
        The retriever: `.dim`, `.encode_image(photos)`, `.encode_text(texts)`, (N, D) float32.

    Raises:
        CheckpointError: there is no such model, or its weights cannot be read.

    Example:
        >>> import fashret
        >>> fashret.load("tiny", device="cpu").encode_text(["red dress", "blue jeans"]).shape
        (2, 256)
    """
    from fashret.models.retriever import Retriever

    return Retriever.load(source, device=device, cache_dir=cache_dir)


_indexes: dict[tuple[str, int], Any] = {}
"""The index that was searched last, by source, so that repeated searches reuse it."""


def _index(source: Any, model: Any) -> Any:
    """Open the index of a source, or reuse the last one."""
    from fashret.catalog.folder import MANIFEST
    from fashret.cli.composing import index_of_run
    from fashret.models.retriever import Retriever
    from fashret.pipelines.evaluate import EvaluateResult
    from fashret.pipelines.search import Index
    from fashret.pipelines.train import TrainResult

    if isinstance(source, TrainResult | EvaluateResult):
        key = (f"{type(source).__name__} {id(source)}", id(source))
    elif not isinstance(source, str | os.PathLike):
        raise ConfigError(
            f"a {type(source).__name__} cannot be searched: pass a result of fashret.train or "
            "fashret.evaluate, the folder of a run, or that of a catalog"
        )
    else:
        path = Path(source).expanduser()
        manifest = path / MANIFEST
        if not manifest.is_file() and not (path / "checkpoints").is_dir():
            raise CatalogError(
                f"{source} is neither a run folder nor a catalog folder: pass the folder of a "
                "training run, or build a catalog with fashret.build_catalog"
            )
        stamp = manifest if manifest.is_file() else path / "checkpoints" / "last.ckpt"
        if not stamp.is_file():
            raise CheckpointError(f"{source} has no checkpoint last.ckpt: give a run that ended")
        key = (f"{path.resolve()} {stamp.stat().st_mtime_ns}", id(model))
    is_catalog = not isinstance(source, TrainResult | EvaluateResult) and manifest.is_file()
    if model is not None and not is_catalog:
        raise ConfigError("model= is for a catalog folder: a run is searched with its own model")
    if model is not None and not isinstance(model, Retriever):
        raise ConfigError(f"model={model!r}: give what fashret.load returns")
    with _INDEX_LOCK:
        if key in _indexes:
            return _indexes[key][0]
        if isinstance(source, TrainResult | EvaluateResult):
            index = Index.from_system(source.system)
        elif manifest.is_file():
            index = Index.from_catalog(path, model)
        else:
            index = index_of_run(path)
        _indexes.clear()
        _indexes[key] = index, source, model  # keep the objects alive, whose id() is in the key
        return index


Result = TypeVar("Result")


def _of_rank_zero(result: Result | None) -> Result:
    """Return a result that every process but the one with rank 0 lacks."""
    if result is None:
        raise ConfigError("of several processes of a run, only that with rank 0 has the result")
    return result


def _configure_logging() -> None:
    """Print fashret's log if the program configures no logging; silence Lightning's info."""
    if not logging.root.handlers and not log.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    lightning = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    if lightning.level == logging.NOTSET:
        lightning.setLevel(logging.WARNING)


def _composed(command: str, overrides: Sequence[str]) -> "AbstractContextManager[Composed]":
    """Compose and check the configuration of a command."""
    from fashret.cli.composing import composing

    _configure_logging()
    return composing(command, overrides)
