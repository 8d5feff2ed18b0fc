"""The processes of one command: on several GPUs or several machines."""

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
"""Strategies that start their processes within `fit`, too late to share the encoding."""


@dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """The processes of a command, as options of Lightning's Trainer.

    Args:
        accelerator: auto, cpu, gpu, ...
        devices: the number of processes per machine, or the indices of GPUs.
        num_nodes: the number of machines.
        strategy: the name or description of Lightning's strategy.
        device: the device of a single process (`device=`): auto, cpu, cuda.
    """

    accelerator: str = "auto"
    devices: int | str | Sequence[int] = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    device: str = "auto"

    @property
    def several(self) -> bool:
        """Whether these options start more than one process."""
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
    """The processes that run a command together, until only rank 0 continues.

    Args:
        fabric: a launched Fabric; None for a single process.
    """

    def __init__(self, fabric: Fabric | None = None) -> None:
        self._processes: Processes = fabric or SingleProcess()

    @classmethod
    def start(cls, options: ProcessOptions | None) -> "ProcessGroup":
        """Start the processes of a command; each runs the command from its beginning.

        Under torchrun and SLURM they exist already, and are only connected.

        Args:
            options: the processes to start; None for this process alone.
        """
        if options is None or not options.several:
            return cls()
        fabric = Fabric(
            accelerator=options.accelerator,
            devices=options.devices,  # type: ignore[arg-type]  # its type knows lists alone
            num_nodes=options.num_nodes,
            strategy=DDPStrategy(timeout=timedelta(days=1)),  # another may build first
        )
        fabric.launch()
        if fabric.global_rank > 0:
            logging.getLogger("fashret").setLevel(logging.WARNING)
        return cls(fabric)

    @property
    def global_rank(self) -> int:
        """The rank of this process, from 0."""
        return self._processes.global_rank

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return self._processes.world_size

    @property
    def device(self) -> torch.device | None:
        """The GPU of this process; None for a single process."""
        own = self._processes.device if isinstance(self._processes, Fabric) else None
        return own if own is not None and own.type == "cuda" else None

    def barrier(self) -> None:
        """Block until all processes have reached this call."""
        self._processes.barrier()

    def broadcast(self, obj: T) -> T:
        """Return the object of the process with rank 0."""
        return self._processes.broadcast(obj)

    def keep_rank_zero(self) -> bool:
        """Continue with the process of rank 0 alone.

        Returns:
            Whether this process continues; if not, it has nothing left to do.
        """
        first = self.global_rank == 0
        self._processes = SingleProcess()
        return first
