"""Runs and their checkpoints: finding one, reading it, and rebuilding the model it holds."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from fashret.allowlist import target_faults
from fashret.catalog.store import Catalog
from fashret.engine.module import load_learned
from fashret.errors import CheckpointError, ConfigError
from fashret.models.retriever import Retriever
from fashret.models.spec import ModelSpec
from fashret.pipelines.session import Setup

_ADOPTED = ("data", "model", "retrieval", "targets", "catalog")
"""The groups of a checkpoint's configuration that another command goes on with."""


def checkpoint_path(run: str | None, ckpt: str) -> Path:
    """The checkpoint that `run` and `ckpt` name.

    Raises:
        CheckpointError: there is no such run or checkpoint.
    """
    if run is None:
        path = Path(ckpt).expanduser()
        if not path.is_file():
            raise CheckpointError(f"ckpt={ckpt} is no file; ckpt=last and ckpt=best need run=")
        return path
    folder = Path(run).expanduser()
    if not folder.is_dir():
        raise CheckpointError(f"run={run} is no folder: give the folder that train.py wrote")
    path = folder / "checkpoints" / f"{ckpt}.ckpt" if ckpt in ("last", "best") else Path(ckpt)
    if not path.is_file():
        held = sorted(p.name for p in (folder / "checkpoints").glob("*.ckpt"))
        raise CheckpointError(f"there is no {path}; the run has {', '.join(held) or 'none'}")
    return path


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the learned weights in a checkpoint; nothing in it is executed.

    Raises:
        CheckpointError: it cannot be read, or was not written by fashret.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
        return dict(held["hyper_parameters"]["config"]), held["state_dict"]
    except Exception as e:  # torch has no one error for a broken file
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint of fashret ({type(e).__name__}: "
            f"{str(e).splitlines()[0][:200]})"
        ) from e


def trained_epochs(path: Path) -> int:
    """How many whole epochs a checkpoint has trained.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return int(held["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except Exception as e:  # torch has no one error for a broken file
        raise CheckpointError(f"{path} cannot be read as a checkpoint of fashret: {e}") from e


def named_checkpoint(cfg: DictConfig) -> tuple[DictConfig, dict[str, Tensor] | None]:
    """What `run` and `ckpt` name: the configuration to work with, and the learned weights.

    Neither of them: the configuration as it is, and None.
    """
    if cfg.run is None and cfg.ckpt in ("last", "best"):
        return cfg, None
    path = checkpoint_path(cfg.run, cfg.ckpt)
    config, state = read_checkpoint(path)
    return adopt(cfg, config, run=f"run={cfg.run}" if cfg.run else f"ckpt={cfg.ckpt}"), state


def of_run(cfg: DictConfig, run: str) -> tuple[DictConfig, dict[str, Tensor]]:
    """The configuration with another run's model in it, and that model's weights."""
    config, state = read_checkpoint(checkpoint_path(run, "last"))
    other = OmegaConf.create(OmegaConf.to_container(cfg))
    assert isinstance(other, DictConfig)
    other["model"] = _checked(config, ["model"], run)["model"]
    return other, state


def adopt(cfg: DictConfig, config: Mapping[str, Any], *, run: str) -> DictConfig:
    """A command's configuration with a run's model, data and options in it.

    What the command line names stays: a whole group, or single keys of the run's.

    Raises:
        CheckpointError: the run's configuration names what no configuration may name.
        ConfigError: the command line changes the model, which the run's weights decide.
    """
    task = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    keys = [o.key_or_group for o in OverridesParser.create().parse_overrides(list(task))]
    changed = [key for key in keys if key == "model" or key.startswith("model.")]
    if changed:
        raise ConfigError(f"{changed[0]} cannot be given with {run}: the run's weights decide it")
    adopted = OmegaConf.create(OmegaConf.to_container(cfg))
    assert isinstance(adopted, DictConfig)
    groups = [g for g in _ADOPTED if g not in keys and g in cfg and g in config]
    if "data" in keys:  # targets belong to the data set
        groups = [group for group in groups if group != "targets"]
    elif "targets" not in keys and "targets" not in config:
        adopted["targets"] = {}
    for group, options in _checked(config, groups, run).items():
        adopted[group] = options
        for key in keys:
            if key.startswith(f"{group}."):
                OmegaConf.update(adopted, key, OmegaConf.select(cfg, key), force_add=True)
    return adopted


def _checked(config: Mapping[str, Any], groups: Sequence[str], run: str) -> dict[str, Any]:
    """The named groups of a checkpoint's configuration, which may be somebody else's.

    `train.py` writes them without interpolations, so there are none to follow.

    Raises:
        CheckpointError: they name a target that is not on the allow-list, or are no groups.
    """
    found = {group: config.get(group) for group in groups}
    faults = [f"{g} is not a group of options" for g, o in found.items() if not isinstance(o, dict)]
    faults += target_faults(found, "")
    faults += [f"{key} holds an interpolation, {value}" for key, value in _interpolations(found)]
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise CheckpointError(f"{run}: the configuration in the checkpoint is refused:\n{lines}")
    return found


def _interpolations(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """The strings that OmegaConf would replace, with their keys."""
    if isinstance(value, str) and "${" in value:
        yield path, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _interpolations(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from _interpolations(part, f"{path}[{number}]")


def trained(
    setup: Setup, state: Mapping[str, Tensor], baseline: Catalog
) -> tuple[Retriever, Catalog]:
    """The model of a checkpoint, over the features of the catalog that goes with it.

    Frozen towers share the baseline's catalog. Towers that learned have one of their own, built
    if the cache has none.
    """
    if setup.spec.frozen:
        retriever = with_weights(state, Retriever(*baseline.heads), setup.spec)
        return retriever.eval().to(setup.device), baseline
    catalog = embedding_catalog(setup, state, None)
    return Retriever(*catalog.heads).eval().to(setup.device), catalog


def embedding_catalog(
    setup: Setup, state: Mapping[str, Tensor] | None, folder: Path | None
) -> Catalog:
    """The catalog of a model's own embeddings, untrained (no state) or trained, in a folder."""

    def load() -> Retriever:
        return Retriever.on(setup.backbone)

    if state is None:
        return setup.catalog(setup.identity, load, folder=folder)
    identity = learned_identity(setup, state)
    if not setup.spec.frozen:
        return setup.catalog(
            identity, lambda: with_weights(state, load(), setup.spec), folder=folder
        )
    base = setup.baseline_catalog()
    return setup.catalog(
        identity,
        lambda: with_weights(state, Retriever(*base.heads), setup.spec),
        base=base,
        folder=folder,
    )


def with_weights(state: Mapping[str, Tensor], retriever: Retriever, spec: ModelSpec) -> Retriever:
    """A retriever with the learned weights of a checkpoint."""
    retriever.add_blocks(spec).set_training(spec)
    load_learned(state, retriever)
    return retriever


def learned_identity(setup: Setup, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The identity of a trained model: the untrained one's, and the learned weights'."""
    digest = hashlib.sha256()
    for name in sorted(state):
        if name.startswith("retriever."):
            value = state[name].detach().cpu().contiguous()
            digest.update(name.encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return setup.identity | {"learned": digest.hexdigest()}
