"""Fill a page's template; texts of the data are escaped everywhere."""

import base64
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_HERE = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """A page from a template of this folder.

    Texts are escaped; `{{ value | tojson }}` is safe within a script element, and
    `{{ asset("style.css") }}` puts one of this folder's own files in.
    """
    return _environment().get_template(template).render(**values)


def vendored(names: Sequence[str]) -> dict[str, str]:
    """The text of bundled libraries, by file name."""
    return {name: (_HERE / "vendor" / name).read_text(encoding="utf-8") for name in names}


def data_uri(jpeg: bytes) -> str:
    """A JPEG file as the address of an image within the page."""
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
