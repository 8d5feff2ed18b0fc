"""Render HTML templates; all text of the data is escaped."""

import base64
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_HERE = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """Render a template of this folder.

    Text is escaped; `{{ value | tojson }}` is safe within a script element, and
    `{{ asset("style.css") }}` includes a file of this folder.

    Args:
        template: the file name of the template.
        values: the variables of the template.
    """
    return _environment().get_template(template).render(**values)


def vendored(names: Sequence[str]) -> dict[str, str]:
    """Return the source of bundled JavaScript libraries, by file name."""
    return {name: (_HERE / "vendor" / name).read_text(encoding="utf-8") for name in names}


def data_uri(jpeg: bytes) -> str:
    """Return a JPEG file as a data URI."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = lambda name: Markup((_HERE / name).read_text(encoding="utf-8"))
    return environment
