"""Write what the scoreboard looks like into docs/board.md.

    python scripts/board_page.py

Trains on the sample as `python train.py > train.txt 2>&1` does, then evaluates the run in terminals
of several widths, and puts the output into the page's blocks, under the headings that name them.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "board.md"
RUN = "outputs/train/first"
WIDTHS = (80, 100, 140)


def output(arguments: list[str], folder: Path, width: int | None = None) -> str:
    """What a command prints into a file, or as if its terminal had a width."""
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    if width is not None:
        env["COLUMNS"] = str(width)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    home = os.environ.get("FASHRET_CACHE", str(Path.home() / ".cache" / "fashret"))
    said = "\n".join(lines).replace(home, "~/.cache/fashret")
    return said.replace(f"{folder}/", "").strip()


def put(page: str, heading: str, block: str) -> str:
    """The page with another block below a heading."""
    pattern = re.compile(rf"(## {heading}\n.*?```\n).*?(\n```)", re.DOTALL)
    changed, count = pattern.subn(lambda match: f"{match[1]}{block}{match[2]}", page)
    if count != 1:
        raise SystemExit(f"{PAGE} has no block below '## {heading}'")
    return changed


def main() -> None:
    """The command."""
    page = PAGE.read_text()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = output([str(ROOT / "train.py"), f"hydra.run.dir={RUN}"], folder)
        page = put(page, "In a file", trained)
        for width in WIDTHS:
            said = output([str(ROOT / "evaluate.py"), f"run={RUN}"], folder, width)
            board = said[said.index(f"{RUN}, sample") : said.index("\nwritten to")]
            page = put(page, f"{width} columns", board.strip())
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
