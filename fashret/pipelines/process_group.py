"""The processes of one command: several GPUs, several machines."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from omegaconf import DictConfig

from fashret import launch_env
from fashret.process_sync import Alone, Processes

T = TypeVar("T")

_IN_PROCESS = ("spawn", "fork", "notebook")
"""Strategies that start their processes within `fit`, where it is too late to share an encoding."""


class Team:
    """The processes that run a command together, until all but the first leave.

    Args:
        fabric: launched; None for one process.
    """

    def __init__(self, fabric: Fabric | None = None) -> None:
        self._all: Processes = fabric or Alone()

    @classmethod
    def of(cls, cfg: DictConfig) -> "Team":
        """Start the processes that `trainer=` asks for; each runs the command from its beginning.

        Under torchrun and SLURM they are there already, and find one another. All then have the
        run folder of the first.

        Args:
            cfg: of a command, with a trainer.
        """
        trainer = cfg.trainer
        if not several(cfg):
            return cls()
        fabric = Fabric(
            accelerator=trainer.accelerator,
            devices=trainer.devices,
            num_nodes=trainer.get("num_nodes", 1),
            strategy=DDPStrategy(timeout=timedelta(days=1)),  # another command may build the same
        )
        fabric.launch()
        cfg.paths.output_dir = fabric.broadcast(str(Path(cfg.paths.output_dir).absolute()))
        if fabric.global_rank > 0:
            logging.getLogger("fashret").setLevel(logging.WARNING)
        return cls(fabric)

    @property
    def global_rank(self) -> int:
        """Which of them this is, from 0."""
        return self._all.global_rank

    @property
    def world_size(self) -> int:
        """How many there are."""
        return self._all.world_size

    @property
    def device(self) -> torch.device | None:
        """The GPU of this process; None without several processes."""
        own = self._all.device if isinstance(self._all, Fabric) else None
        return own if own is not None and own.type == "cuda" else None

    def barrier(self) -> None:
        """Wait until all have come here."""
        self._all.barrier()

    def broadcast(self, obj: T) -> T:
        """What the first one has."""
        return self._all.broadcast(obj)

    def only_first(self) -> bool:
        """Let the first process go on alone; whether this is it."""
        first = self.global_rank == 0
        self._all = Alone()
        return first


def several(cfg: DictConfig) -> bool:
    """Whether a command asks for more than one process."""
    trainer = cfg.trainer
    if any(name in str(trainer.strategy) for name in _IN_PROCESS):
        return False
    if trainer.get("num_nodes", 1) > 1 or launch_env.processes() > 1:
        return True
    devices: Any = trainer.devices
    if devices in ("auto", -1, "-1"):
        gpus = trainer.accelerator in ("auto", "gpu", "cuda") and cfg.device in ("auto", "cuda")
        return gpus and torch.cuda.device_count() > 1
    if isinstance(devices, str):  # "2", or "0,1"
        return "," in devices.strip(",") or (devices.isdigit() and int(devices) > 1)
    return devices > 1 if isinstance(devices, int) else len(devices) > 1
