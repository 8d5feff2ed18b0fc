"""Compose and check a command's configuration from Python, without the command line."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fashret.cli.command import explain
from fashret.cli.options import Composed, evaluate_options
from fashret.cli.resumed_overrides import quoted, with_resumed_overrides
from fashret.config import config_dir
from fashret.errors import ConfigError
from fashret.pipelines.evaluate import evaluated_system
from fashret.pipelines.search import Index

_HYDRA_LOCK = threading.RLock()
"""Held while a configuration is composed: Hydra's state is global to the process."""


@contextmanager
def composing(command: str, overrides: Sequence[str]) -> Iterator[Composed]:
    """Compose and check a command's configuration; within the context, Hydra's state is set for it.

    Args:
        command: the name of the command: train, evaluate, build_catalog, ...
        overrides: the overrides, as on the command line.

    Raises:
        ConfigError: an override names an unknown key or option, or its value is not allowed.
    """
    for override in overrides:
        _check_override(override, command)
    given = with_resumed_overrides(list(overrides))
    folder = [o for o in given if o.startswith("hydra.run.dir=")]
    given = [override for override in given if not override.startswith("hydra.run.dir=")]
    if not any(override.startswith("paths.output_dir=") for override in given):
        now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
        default = f"paths.output_dir=outputs/{command}/{now}"
        last = f"paths.output_dir={folder[-1].removeprefix('hydra.run.dir=')}" if folder else ""
        given.append(last or default)
    with _HYDRA_LOCK:
        before, before_config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
        GlobalHydra.instance().hydra = None  # restored below, if the user has initialized Hydra
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


def _check_override(override: object, command: str) -> None:
    """Raise ConfigError for what is an argument of the command line alone, or none at all."""
    if not isinstance(override, str):
        raise ConfigError(
            f"{override!r}: an override is a text, such as 'data.batch_size=64'; several are "
            "several arguments"
        )
    if override.startswith("-"):
        raise ConfigError(f"{override}: options that begin with - are for the command line alone")
    try:
        sweeps = OverridesParser.create().parse_override(override).is_sweep_override()
    except HydraException:
        return  # composing explains it
    if sweeps:
        raise ConfigError(
            f"{override} is a sweep: call fashret.{command} once for each value, or sweep on the "
            f"command line, `fashret {command} -m {override}`"
        )


def index_of_run(folder: Path) -> Index:
    """Open the index of all items of a run's data, embedded by its model."""
    with composing("evaluate", [f"run={quoted(folder)}"]) as composed:
        options = evaluate_options(composed)
    return Index.from_system(evaluated_system(options))


def write_hydra_folder(composed: Composed) -> None:
    """Write the overrides to a run folder, as Hydra does; `resume=` reads them."""
    folder = Path(composed.cfg.paths.output_dir) / ".hydra"
    if (folder / "overrides.yaml").is_file() and "resume" in composed.keys:
        return
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"overrides.yaml.{os.getpid()}"
    kept = [o for o in composed.overrides if not o.startswith("paths.output_dir=")]
    partial.write_text(OmegaConf.to_yaml(OmegaConf.create(list(kept))))
    os.replace(partial, folder / "overrides.yaml")
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(composed.cfg))
