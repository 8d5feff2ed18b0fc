"""Write files atomically: a reader never sees a partly written file."""

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; its folder is created if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
