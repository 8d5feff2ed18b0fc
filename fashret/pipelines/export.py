"""Export a model as a folder that open_clip reads."""

from dataclasses import dataclass, field
from pathlib import Path

from fashret.cache import default_cache_dir
from fashret.errors import ConfigError
from fashret.models.backbone import load_backbone
from fashret.models.bundle import write_bundle
from fashret.models.checkpoint import checkpoint_path, read_checkpoint, with_weights
from fashret.models.retriever import Retriever
from fashret.models.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of an export.

    Args:
        model: the spec of the model.
        out: the folder to write.
        run: the run folder of a trained model; None for the untrained model, or that of `ckpt`.
        ckpt: last, best, or the path of a checkpoint.
        half: whether to store weights in half precision.
        cache_dir: the folder of downloaded weights.
    """

    model: ModelSpec
    out: Path
    run: str | None = None
    ckpt: str = "last"
    half: bool = True
    cache_dir: Path = field(default_factory=default_cache_dir)


def export(options: ExportOptions) -> tuple[str, ...]:
    """Export a model.

    Returns:
        The attributes whose heads were not exported: open_clip has no place for them.

    Raises:
        ConfigError: the model has an image tower alone.
    """
    spec, state = options.model, None
    if not spec.reads_text:
        raise ConfigError(
            f"model.name={spec.name} has no text tower, so that it is no open_clip model; load it "
            "with fashret.load, or its weights with timm"
        )
    if options.run is not None or options.ckpt not in ("last", "best"):
        path = checkpoint_path(options.run, options.ckpt)
        config, state = read_checkpoint(path)
        trained = ModelSpec.from_config(config, str(path))
        if not trained.has_towers:
            raise ConfigError(
                f"{path} has heads over {trained.embeddings} and no towers to export; build a "
                "catalog of its embeddings (build_catalog.py run=<run> catalog.dir=<folder>)"
            )
    retriever = Retriever.from_backbone(load_backbone(spec, options.cache_dir))
    if state is not None:
        with_weights(state, retriever, spec)
    names = ("loss.log_scale", "loss.contrastive.log_scale", "loss.loss.log_scale")
    scales = [state[name] for name in names if state is not None and name in state]
    log_scale = scales[0] if scales else None
    left_out = retriever.block_names
    write_bundle(retriever, spec, options.out, half=options.half, log_scale=log_scale)
    return left_out
