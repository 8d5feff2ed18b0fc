"""The former place of `Schema`, which configurations in run folders and checkpoints still name."""

from fashret.data.attribute_parser import Schema

__all__ = ["Schema"]
