"""The processes that build a catalog together."""

from typing import Protocol, TypeVar

T = TypeVar("T")


class Processes(Protocol):
    """Some processes, each of which runs the same program (Lightning's Fabric is one of these)."""

    @property
    def global_rank(self) -> int:
        """Which of them this is, from 0."""
        ...

    @property
    def world_size(self) -> int:
        """How many there are."""
        ...

    def barrier(self) -> None:
        """Wait until all have come here."""
        ...

    def broadcast(self, obj: T) -> T:
        """What the first one has."""
        ...


class Alone:
    """One process."""

    global_rank = 0
    world_size = 1

    def barrier(self) -> None:
        """There is nobody to wait for."""

    def broadcast(self, obj: T) -> T:
        """What this one has."""
        return obj
