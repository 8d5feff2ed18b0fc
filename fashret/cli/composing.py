"""Compose and check a command's configuration without the command line."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fashret.cli.command import explain
from fashret.cli.compose import Composed, evaluate_options
from fashret.cli.resumed_overrides import quoted, with_resumed
from fashret.config import config_dir
from fashret.errors import ConfigError
from fashret.pipelines.evaluate import evaluated_system
from fashret.pipelines.search import Index

_COMPOSING = threading.RLock()
"""Hydra keeps its state for the whole process: one configuration is composed at a time."""


@contextmanager
def composing(command: str, overrides: Sequence[str]) -> Iterator[Composed]:
    """Compose and check a command's configuration, while Hydra's state is this one's.

    Args:
        command: train, evaluate, build_catalog, ...
        overrides: as on the command line.

    Raises:
        ConfigError: an override names what there is not, or a value does not fit.
    """
    given = with_resumed(list(overrides))
    folder = [o for o in given if o.startswith("hydra.run.dir=")]
    given = [override for override in given if not override.startswith("hydra.run.dir=")]
    if not any(override.startswith("paths.output_dir=") for override in given):
        now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
        default = f"paths.output_dir=outputs/{command}/{now}"
        last = f"paths.output_dir={folder[-1].removeprefix('hydra.run.dir=')}" if folder else ""
        given.append(last or default)
    with _COMPOSING:
        before, before_config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
        GlobalHydra.instance().hydra = None  # a context of the user's own stays as it is
        try:
            with initialize_config_dir(config_dir(), version_base="1.3"):
                cfg = compose(command, overrides=given, return_hydra_config=True)
                HydraConfig.instance().set_config(cfg)
                with open_dict(cfg):
                    del cfg["hydra"]
                OmegaConf.set_struct(cfg, True)
                yield Composed.checked(cfg, command)
        except (HydraException, OmegaConfBaseException) as e:
            raise ConfigError(explain(e, command)) from e
        finally:
            GlobalHydra.instance().hydra = before
            HydraConfig.instance().cfg = before_config


def index_of_run(folder: Path) -> Index:
    """Index all items of a run's own data, under its model."""
    with composing("evaluate", [f"run={quoted(folder)}"]) as composed:
        options = evaluate_options(composed)
    return Index.from_system(evaluated_system(options))


def write_hydra_folder(composed: Composed) -> None:
    """Leave the overrides in a run folder, as Hydra does, by which `resume=` goes on."""
    folder = Path(composed.cfg.paths.output_dir) / ".hydra"
    if (folder / "overrides.yaml").is_file():
        return  # a run that is resumed
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"overrides.yaml.{os.getpid()}"
    kept = [o for o in composed.overrides if not o.startswith("paths.output_dir=")]
    partial.write_text(OmegaConf.to_yaml(OmegaConf.create(list(kept))))
    os.replace(partial, folder / "overrides.yaml")
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(composed.cfg))
