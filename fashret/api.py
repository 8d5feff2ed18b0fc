"""fashret from Python: what the commands do, as functions that return objects.

    import fashret

    run = fashret.train("data=folder", "data.root=photos", "data.table=items.csv")
    run.scoreboard
    run.model.encode_text(["red v-neck cardigan"])
    fashret.search(run, text="red v-neck cardigan", where={"category": "cardigan"})

Overrides are those of the command line, as strings. Everything works in a notebook, in a script
without a main guard, from several threads, and more than once in a process.
"""

import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashret.errors import CatalogError, ConfigError

if TYPE_CHECKING:
    import torch

    from fashret.catalog.store import Catalog
    from fashret.cli.compose import Composed
    from fashret.data.items import ItemTable
    from fashret.models.retriever import Photo, Retriever
    from fashret.models.spec import ModelSpec
    from fashret.pipelines.evaluate import EvaluateResult
    from fashret.pipelines.search import SearchResult
    from fashret.pipelines.train import TrainResult

log = logging.getLogger("fashret")

_COMPOSING = threading.RLock()
"""Hydra keeps its state for the whole process: one configuration is composed at a time."""


def prepare(*overrides: str) -> "ItemTable":
    """Prepare a data set, or find it prepared.

    Args:
        overrides: of `data` and `paths`, such as "data=folder", "data.root=photos".

    Returns:
        The item table: `.dataset` (a Hugging Face data set, one row an item), `.report` (what was
        kept, dropped and repaired, and why), `.key` (its key in the cache).

    Raises:
        ConfigError: an override names what there is not, or a value does not fit.
        DataError: the data cannot be used.
    """
    from fashret.data.preparation import prepare as prepare_table

    with _composed("build_catalog", overrides) as composed:
        options = composed.session()
    return prepare_table(options.source, options.cache_dir)


def train(*overrides: str) -> "TrainResult":
    """Train a model, as `fashret train` does.

    Args:
        overrides: of conf/train.yaml, such as "model=vitb32", "trainer.max_epochs=10".

    Returns:
        The result: `.model` (the trained retriever), `.scoreboard`, `.metrics` and `.folder` (the
        run folder, which `load`, `evaluate` and `search` take as well).

    Raises:
        FashretError: see `fashret.errors`.
    """
    from fashret.cli.compose import train_options
    from fashret.pipelines.publish import check_regressions
    from fashret.pipelines.train import train as run

    with _composed("train", overrides) as composed:
        options = train_options(composed)
        _write_hydra_folder(composed)
    result = run(options)
    if result is None:
        raise ConfigError("this is a process beside the first of a run, which has the result")
    if options.report.fail_on_regression:
        check_regressions(result.scoreboard)
    return result


def evaluate(*overrides: str) -> "EvaluateResult":
    """Evaluate a run, a checkpoint, a catalog or a model, as `fashret evaluate` does.

    Args:
        overrides: of conf/evaluate.yaml, such as "run=<run folder>", "protocol=keyword".

    Returns:
        The result: `.scoreboard`, `.metrics`, `.folder`, `.evaluation` (every ranking).

    Raises:
        FashretError: see `fashret.errors`.
    """
    from fashret.cli.compose import evaluate_options
    from fashret.pipelines.evaluate import evaluate as run
    from fashret.pipelines.publish import check_regressions

    with _composed("evaluate", overrides) as composed:
        options = evaluate_options(composed)
    result = run(options)
    if result is None:
        raise ConfigError("this is a process beside the first of a run, which has the result")
    if options.report.fail_on_regression:
        check_regressions(result.scoreboard)
    return result


def build_catalog(*overrides: str) -> "Catalog":
    """Build the embeddings of a data set, or find them built, as `fashret catalog` does.

    Args:
        overrides: of conf/build_catalog.yaml, such as "run=<run folder>", "catalog.dir=<folder>".

    Returns:
        The verified catalog: `.image`, `.text` (N, D), `.meta()`, `.folder`.

    Raises:
        FashretError: see `fashret.errors`.
    """
    from fashret.cli.compose import catalog_options
    from fashret.pipelines.catalog import build_catalog as run

    with _composed("build_catalog", overrides) as composed:
        options = catalog_options(composed)
    catalog = run(options)
    if catalog is None:
        raise ConfigError("this is a process beside the first of a run, which has the result")
    return catalog


def export(source: "str | Path | TrainResult", out: str | Path, *, half: bool = True) -> Path:
    """Write a trained model as a folder that open_clip reads, its heads folded in.

    Args:
        source: a training result, a run folder, or a checkpoint file.
        out: the folder; a new one, or one that holds an export already.
        half: whether weights are stored in half precision.

    Returns:
        The folder, for `open_clip.create_model_and_transforms("local-dir:<out>")` and `load`.

    Raises:
        CheckpointError: there is no such run or checkpoint.
        ConfigError: the folder holds something else.
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
    text: str | None = None,
    image: "Photo | None" = None,
    k: int = 10,
    where: Mapping[str, str | Sequence[str]] | None = None,
    weight_image: float = 0.7,
    weights: Mapping[str, float] | None = None,
    model: "Retriever | None" = None,
) -> "SearchResult":
    """Find the items of a data set that fit a text, a photo, or both.

    A text or a photo alone is compared with the items' photos; together they are fused as in
    evaluation: w (photo . photo) + (1 - w) (text . text).

    Args:
        source: a training or evaluation result, a run folder, or a catalog folder.
        text: what is typed.
        image: a file, a PIL image, encoded bytes or an (H, W, 3) uint8 array.
        k: how many items.
        where: values that items must have, by category or attribute: {"category": "dress"}; a
            list of values takes any of them.
        weight_image: w, between 0 and 1.
        weights: of the model's attribute heads: {"neckline": 0.5}.
        model: for a catalog folder, the model that embeds the query; by default the one that the
            catalog was made with.

    Returns:
        The hits, best first; in a notebook with their photos.

    Raises:
        ConfigError: there is nothing to search with, or `where` names what no item has.
        CatalogError: the folder is neither a run nor a whole catalog.
    """
    found: SearchResult = _index(source, model).search(
        text=text, image=image, k=k, where=where, weight_image=weight_image, weights=weights
    )
    return found


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
        cache_dir: where downloaded weights are kept.

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
"""The last catalog that was searched, opened: a service asks many times."""


def _index(source: Any, model: Any) -> Any:
    """What a search looks through."""
    from fashret.catalog.store import MANIFEST
    from fashret.pipelines.evaluate import EvaluateResult
    from fashret.pipelines.search import Index
    from fashret.pipelines.train import TrainResult

    if isinstance(source, TrainResult | EvaluateResult):
        key = (f"{type(source).__name__} {id(source)}", id(source))
    else:
        path = Path(source).expanduser()
        manifest = path / MANIFEST
        if not manifest.is_file() and not (path / "checkpoints").is_dir():
            raise CatalogError(
                f"{source} is neither a run folder nor a catalog folder: fashret.build_catalog "
                "makes a catalog"
            )
        stamp = manifest if manifest.is_file() else path / "checkpoints" / "last.ckpt"
        key = (f"{path.resolve()} {stamp.stat().st_mtime_ns}", id(model))
    with _COMPOSING:
        if key in _indexes:
            return _indexes[key][0]
        if isinstance(source, TrainResult | EvaluateResult):
            index = Index.from_system(source.system)
        elif manifest.is_file():
            index = Index.from_catalog(path, model)
        else:
            index = _index_of_run(path)
        _indexes.clear()
        _indexes[key] = index, source, model  # what is held keeps its identity
        return index


def _index_of_run(folder: Path) -> Any:
    """All items of a run's own data, under its model."""
    from fashret.cli.compose import evaluate_options
    from fashret.pipelines.evaluate import evaluated_system
    from fashret.pipelines.search import Index

    with _composed("evaluate", [f"run={_quoted(folder)}"]) as composed:
        options = evaluate_options(composed)
    return Index.from_system(evaluated_system(options))


def _speak() -> None:
    """Show fashret's messages where nobody has said what becomes of messages; hush Lightning's."""
    if not logging.root.handlers and not log.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    lightning = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    if lightning.level == logging.NOTSET:
        lightning.setLevel(logging.WARNING)


@contextmanager
def _composed(command: str, overrides: Sequence[str]) -> Iterator["Composed"]:
    """A command's configuration, composed and checked, while Hydra's state is this one's."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    from fashret.cli.compose import Composed
    from fashret.cli.resumed_overrides import with_resumed
    from fashret.config import config_dir

    _speak()
    given = with_resumed(list(overrides))
    folder = [o.removeprefix("hydra.run.dir=") for o in given if o.startswith("hydra.run.dir=")]
    given = [override for override in given if not override.startswith("hydra.run.dir=")]
    if not any(override.startswith("paths.output_dir=") for override in given):
        now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
        out = folder[-1] if folder else f"outputs/{command}/{now}"
        given.append(f"paths.output_dir={_quoted(out)}")
    with _COMPOSING:
        hydra, config = GlobalHydra.instance(), HydraConfig.instance()
        before, before_config = hydra.hydra, config.cfg
        hydra.hydra = None  # a context of the user's own stays as it is
        try:
            with initialize_config_dir(config_dir(), version_base="1.3"):
                cfg = compose(command, overrides=given, return_hydra_config=True)
                config.set_config(cfg)
                with open_dict(cfg):
                    del cfg["hydra"]
                OmegaConf.set_struct(cfg, True)
                yield Composed.checked(cfg, command)
        except (HydraException, OmegaConfBaseException) as e:
            raise ConfigError(f"{command}: {e.__cause__ or e}") from e
        finally:
            hydra.hydra, config.cfg = before, before_config


def _write_hydra_folder(composed: "Composed") -> None:
    """Leave the overrides in a run folder, as Hydra does, by which `resume=` goes on."""
    from omegaconf import OmegaConf

    folder = Path(composed.cfg.paths.output_dir) / ".hydra"
    if (folder / "overrides.yaml").is_file():
        return  # a run that is resumed
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"overrides.yaml.{os.getpid()}"
    kept = [o for o in composed.overrides if not o.startswith("paths.output_dir=")]
    partial.write_text(OmegaConf.to_yaml(OmegaConf.create(list(kept))))
    os.replace(partial, folder / "overrides.yaml")
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(composed.cfg))


def _quoted(path: str | Path) -> str:
    """A path as the value of an override, whatever characters it has."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
