"""Where a model comes from: a run, a checkpoint, an exported folder, or a name."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from fashret.errors import CheckpointError
from fashret.models.checkpoint import checkpoint_path, read_checkpoint
from fashret.models.spec import BUNDLE_CONFIG, ModelSpec

TINY = "tiny"
"""The name of the small model that comes with fashret."""


def resolve_source(
    source: str | Path | ModelSpec,
) -> tuple[ModelSpec, Mapping[str, Tensor] | None]:
    """Find the spec of a model source, and the trained weights if it is a checkpoint."""
    if isinstance(source, ModelSpec):
        return source, None
    path = Path(source).expanduser()
    if (path / BUNDLE_CONFIG).is_file():
        return ModelSpec(name=f"local-dir:{path}", pretrained=None), None
    if (path / "checkpoints").is_dir() or path.is_file():
        is_run = path.is_dir()
        file = checkpoint_path(str(path) if is_run else None, "last" if is_run else str(path))
        config, state = read_checkpoint(file)
        return ModelSpec.from_config(config, str(source)), state
    if str(source) == TINY:
        return ModelSpec(), None
    raise CheckpointError(
        f"{source} is not a model: give a run folder, a checkpoint file, a folder that "
        "fashret-export wrote, 'tiny', or a ModelSpec for any open_clip model"
    )
