"""Pages of the documentation's site that are made from the code: mkdocs calls these hooks."""

import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[1]
CONF, EXAMPLES, RESULTS = ROOT / "conf", ROOT / "examples", ROOT / "benchmarks" / "results"


def on_config(config: Any) -> Any:
    """Give every group its place in the navigation."""
    pages = [f"options/{name}.md" for name in _groups()]
    config["nav"] = [{"Options": pages} if "Options" in entry else entry for entry in config["nav"]]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each group of options, one of the examples, and the benchmarks' results."""
    for name in _groups():
        files.append(File.generated(config, f"options/{name}.md", content=_options(name)))
    files.append(File.generated(config, "examples.md", content=_examples()))
    for path in sorted(RESULTS.glob("*.*")):
        if path.suffix in (".md", ".png"):
            place = f"benchmarks/{path.name}"
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links out of docs/ to the pages made of what they name; source files have none."""
    markdown = re.sub(r"\]\(\.\./conf/(\w+)[\w/.]*\)", r"](options/\1.md)", markdown)
    markdown = re.sub(r"\]\(\.\./benchmarks/results/([\w.]+)\)", r"](benchmarks/\1)", markdown)
    markdown = re.sub(r"\[([^\]]+)\]\(\.\./fashret/[\w/.]+\)", r"`\1`", markdown)
    example = r"\]\(\.\./examples/(?:conf/\w+/)?(\w+)\.(?:py|ipynb|yaml)\)"
    return re.sub(example, r"](examples.md#\1)", markdown)


def _groups() -> list[str]:
    """The commands, and the groups of conf/."""
    groups = sorted(path.name for path in CONF.iterdir() if path.is_dir())
    return ["commands", *groups]


def _options(group: str) -> str:
    """Every option of a group: what it says of itself, what it makes, and the file as it is."""
    commands = group == "commands"
    files = sorted(CONF.glob("*.yaml") if commands else (CONF / group).glob("*.yaml"))
    parts = [f"# {group}\n", f"From `conf/{'' if commands else f'{group}/'}`.\n"]
    for path in files:
        parts.append(f"## {path.stem if commands else f'{group}={path.stem}'}\n")
        parts.append(_told(path))
        parts.append(f"```yaml\n{path.read_text().rstrip()}\n```\n")
    return "\n".join(parts)


def _told(path: Path) -> str:
    """What the class that an option makes says of itself."""
    target = OmegaConf.load(path).get("_target_")
    if target is None or not str(target).startswith("fashret."):
        return ""
    module, _, name = str(target).rpartition(".")
    told = inspect.getdoc(getattr(importlib.import_module(module), name)) or ""
    return f"`{target}`\n\n```text\n{told}\n```\n"


def _examples() -> str:
    """The files of examples/, each under its name."""
    parts = ["# Examples\n", "What [extending](extending.md) speaks of.\n"]
    for path in sorted(EXAMPLES.glob("*.py")):
        parts.append(f"## {path.stem}\n\n```python\n{path.read_text().rstrip()}\n```\n")
        options = next(iter(EXAMPLES.glob(f"conf/*/{path.stem}.yaml")))
        where = options.relative_to(ROOT)
        parts.append(f"`{where}`\n\n```yaml\n{options.read_text().rstrip()}\n```\n")
    parts += [_notebook(path) for path in sorted(EXAMPLES.glob("*.ipynb"))]
    return "\n".join(parts)


def _notebook(path: Path) -> str:
    """The cells of a notebook, under its name; its own headings come one level below."""
    parts = [f"## {path.stem}\n"]
    for cell in json.loads(path.read_text())["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            parts.append(f"```python\n{text}\n```\n")
        else:
            parts.append(re.sub(r"^#+", "###", text, flags=re.M) + "\n")
    return "\n".join(parts)
