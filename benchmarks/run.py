"""Run the benchmarks, each in a process of its own, and write their table and pictures.

    python benchmarks/run.py                        # all: about 25 minutes on two cores
    python benchmarks/run.py encoding mining        # some; the others' results stay
    python benchmarks/run.py --quick                # do they run: a few minutes
    python benchmarks/run.py preparation photos=<folder with styles.csv and images/>

Writes latest.md, latest.json and pictures into benchmarks/results, and says what moved since the
results that were there. Quick results go to benchmarks/results/quick. Ends with 1 where a
benchmark failed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import report
from measure import Row

HERE = Path(__file__).parent

ALL = (
    "frozen_epoch evaluation mining pairing text_encoding encoding unfrozen_stall unfrozen_gpu "
    "attributes decoding million growth start_up search_page preparation product_task feature_store"
).split()

QUIET = {"TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore"}

LIMIT = 1200
"""Seconds after which a benchmark is taken to hang."""


def run_one(name: str, quick: bool, photos: str | None) -> tuple[list[Row], bool]:
    """Its rows, and whether it ran to its end."""
    if name in ("preparation", "product_task") and photos is None:
        return [Row("not run", note="needs real photos: run.py preparation photos=<folder>")], True
    with tempfile.TemporaryDirectory() as scratch:
        found = Path(scratch, "rows.json")
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(found)]
        command += ["--quick"] * quick + (["--photos", photos] if photos else [])
        # The package may be installed or not: the working tree is what is measured.
        paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | QUIET | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        with Path(scratch, "log").open("w+") as log:
            try:
                done = subprocess.run(
                    command, env=environment, stdout=log, stderr=log, timeout=LIMIT, check=False
                )
                failure = "" if done.returncode == 0 else f"exit status {done.returncode}"
            except subprocess.TimeoutExpired:
                failure = f"longer than {LIMIT} s"
            log.seek(0)
            said = [line.strip() for line in log if line.strip()]
        rows = [Row(**row) for row in json.loads(found.read_text())] if found.exists() else []
    if failure:
        last = said[-1] if said and "longer" not in failure else failure
        rows.append(Row("failed", note=f"failed: {last[:200]}"))
    return rows, not failure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(ALL)}; photos=<folder>")
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats")
    given = parser.parse_args()
    photos = next((n.removeprefix("photos=") for n in given.names if n.startswith("photos=")), None)
    names = [name for name in given.names if not name.startswith("photos=")] or ALL
    if unknown := [name for name in names if name not in ALL]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(ALL)}")

    folder = HERE / "results" / ("quick" if given.quick else "")
    before = report.read(folder / "latest.json")
    here, whole = report.machine(), True
    entries = dict(before)
    for place, name in enumerate(names, 1):
        print(f"[{place:2}/{len(names)}] {name:<16}", end=" ", flush=True)
        load = round(os.getloadavg()[0], 1)
        start = time.perf_counter()
        rows, ended = run_one(name, given.quick, photos)
        seconds = time.perf_counter() - start
        whole &= ended
        entries[name] = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "machine": here,
            "quick": given.quick,
            "load": load,
            "seconds": round(seconds, 1),
            "rows": [asdict(row) for row in rows],
        }
        print(f"{seconds:5.0f} s  {summary(rows)}", flush=True)
        for row in rows:
            change = report.moved(row, before.get(name), entries[name])
            if "moved" in change:
                print(f"{'':9}{row.measurement} / {row.baseline}: {change.replace('*', '')}")
    if here["cores"] and max(entries[name]["load"] for name in names) > here["cores"] + 1:
        print("the machine had other work: see the load of each benchmark in the table")
    ordered = {name: entries[name] for name in ALL if name in entries}
    report.write(folder, ordered, {name: before[name] for name in names if name in before})
    try:
        from pictures import draw

        drawn = draw(ordered, folder)
    except ImportError:
        print("matplotlib is not installed: no pictures")
        drawn = []
    print(", ".join(str(p) for p in (folder / "latest.md", folder / "latest.json", *drawn)))
    sys.exit(0 if whole else 1)


def summary(rows: list[Row]) -> str:
    """What a line of progress says of a benchmark."""
    said = [f"{len(rows)} rows"]
    bounds = [row for row in rows if row.met is not None]
    if bounds:
        said.append(f"{sum(bool(row.met) for row in bounds)} of {len(bounds)} bounds met")
    said += [row.note for row in rows if row.measurement in ("failed", "not run")]
    return ", ".join(said)


if __name__ == "__main__":
    main()
