"""fashret trains and judges embedding models for attribute-aware fashion retrieval.

The package is light to import: torch is loaded by the modules that need it.
"""

__version__ = "0.1.0"
