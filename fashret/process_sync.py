"""The interface by which the processes of one command work together."""

from typing import Protocol, TypeVar

T = TypeVar("T")


class Processes(Protocol):
    """A group of processes that run the same program; Lightning's Fabric fits this interface."""

    @property
    def global_rank(self) -> int:
        """The rank of this process, from 0."""
        ...

    @property
    def world_size(self) -> int:
        """The number of processes."""
        ...

    def barrier(self) -> None:
        """Block until all processes have reached this call."""
        ...

    def broadcast(self, obj: T) -> T:
        """Return the object of the process with rank 0 in every process."""
        ...


class SingleProcess:
    """A group of one process: nothing to wait for or to exchange."""

    global_rank = 0
    world_size = 1

    def barrier(self) -> None:
        """Return at once."""

    def broadcast(self, obj: T) -> T:
        """Return the object itself."""
        return obj
