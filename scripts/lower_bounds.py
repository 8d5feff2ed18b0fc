"""Install the lowest versions that pyproject.toml allows, and run the quick tests with them.

    python scripts/lower_bounds.py                 # in a new environment, removed afterwards
    python scripts/lower_bounds.py --keep /tmp/low # keep it

Run it before a release: a bound that nobody has tried is a guess. Needs a package index, a few
gigabytes and some minutes. What the lowest versions need in turn is the newest that fits them.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

WITH = (
    "pytest pytest-xdist ranx pytrec-eval-terrier faiss-cpu peft starlette uvicorn httpx psutil "
    "joblib pytorch-metric-learning selenium nbclient nbformat ipykernel"
).split()
"""What the tests themselves need, and extras: any version."""


def lowest(requirement: str) -> str:
    """The requirement with its lower bound as the only version.

    Example:
        >>> lowest("hydra-core>=1.3.8,<1.4"), lowest("numpy>=2")
        ('hydra-core==1.3.8', 'numpy==2.0.*')
    """
    name, bound = re.fullmatch(r"([\w.\-\[\]]+)>=([\d.]+).*", requirement).groups()  # type: ignore[union-attr]  # every requirement has a bound
    return f"{name}=={bound}.0.*" if bound.count(".") == 0 else f"{name}=={bound}"


def pinned() -> list[str]:
    """The run-time requirements at their lowest versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [lowest(requirement) for requirement in project["dependencies"]]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="an environment that stays")
    parser.add_argument("--show", action="store_true", help="print the versions alone")
    given = parser.parse_args()
    if given.show:
        print("\n".join(pinned()))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch) / "env"
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        python = str(folder / "bin" / "python")
        install = [python, "-m", "pip", "install", "--quiet", *pinned(), *WITH]
        subprocess.run(install, check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--no-deps", str(ROOT)], check=True
        )
        subprocess.run([python, "-m", "pip", "check"], check=True)
        tests = [python, "-m", "pytest", "-m", "unit", "-n", "2", "-p", "no:cacheprovider"]
        done = subprocess.run(tests, cwd=ROOT, env=os.environ | {"PYTHONPATH": ""}, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
