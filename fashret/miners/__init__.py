"""Miners: which of the valid pairs a loss is to see, one idea a file."""

from fashret.miners.none import NoMiner

__all__ = ["NoMiner"]
