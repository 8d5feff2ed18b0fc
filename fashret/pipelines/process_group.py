"""The processes of one command: several GPUs, several machines."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from fashret import launch_env
from fashret.process_sync import Processes, SingleProcess

T = TypeVar("T")

_IN_PROCESS = ("spawn", "fork", "notebook")
"""Strategies that start their processes within `fit`, where it is too late to share an encoding."""


@dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """Which processes a command asks for, as Lightning's Trainer names them.

    Args:
        accelerator: auto, cpu, gpu, ...
        devices: how many processes of a machine, or which GPUs.
        num_nodes: machines.
        strategy: Lightning's, by name or by what describes it.
        device: the device of a single process (`device=`): auto, cpu, cuda.
    """

    accelerator: str = "auto"
    devices: int | str | Sequence[int] = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    device: str = "auto"

    @property
    def several(self) -> bool:
        """Whether this asks for more than one process."""
        if any(name in self.strategy for name in _IN_PROCESS):
            return False
        if self.num_nodes > 1 or launch_env.world_size() > 1:
            return True
        if self.devices in ("auto", -1, "-1"):
            gpus = self.accelerator in ("auto", "gpu", "cuda") and self.device in ("auto", "cuda")
            return gpus and torch.cuda.device_count() > 1
        if isinstance(self.devices, str):  # "2", or "0,1"
            listed = "," in self.devices.strip(",")
            return listed or (self.devices.isdigit() and int(self.devices) > 1)
        return self.devices > 1 if isinstance(self.devices, int) else len(self.devices) > 1


class ProcessGroup:
    """The processes that run a command together, until all but the first leave.

    Args:
        fabric: launched; None for one process.
    """

    def __init__(self, fabric: Fabric | None = None) -> None:
        self._all: Processes = fabric or SingleProcess()

    @classmethod
    def start(cls, options: ProcessOptions | None) -> "ProcessGroup":
        """Start the processes that are asked for; each runs the command from its beginning.

        Under torchrun and SLURM they are there already, and find one another.

        Args:
            options: None for this process alone.
        """
        if options is None or not options.several:
            return cls()
        fabric = Fabric(
            accelerator=options.accelerator,
            devices=options.devices,  # type: ignore[arg-type]  # its type knows lists alone
            num_nodes=options.num_nodes,
            strategy=DDPStrategy(timeout=timedelta(days=1)),  # another command may build the same
        )
        fabric.launch()
        if fabric.global_rank > 0:
            logging.getLogger("fashret").setLevel(logging.WARNING)
        return cls(fabric)

    @property
    def global_rank(self) -> int:
        """Number of this process, from 0."""
        return self._all.global_rank

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return self._all.world_size

    @property
    def device(self) -> torch.device | None:
        """The GPU of this process; None without several processes."""
        own = self._all.device if isinstance(self._all, Fabric) else None
        return own if own is not None and own.type == "cuda" else None

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        self._all.barrier()

    def broadcast(self, obj: T) -> T:
        """Return what the first process has."""
        return self._all.broadcast(obj)

    def keep_rank_zero(self) -> bool:
        """Let the first process go on alone.

        Returns:
            Whether this is it; another one has nothing left to do.
        """
        first = self.global_rank == 0
        self._all = SingleProcess()
        return first
