"""The version of fashret."""

__version__ = "0.1.0"
