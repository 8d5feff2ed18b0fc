"""Mutation testing: change the source in one place, and see whether a test fails.

    python scripts/mutants.py [--sample 400] [--seed 0] [--jobs N] [group ...]

Draws a seeded sample of mutants over the groups, runs each against the unit tests of its group, and
prints the survivors and the share that was killed. Exits 1 where a group is below its floor.

Each mutant is one fork of a process that has imported all libraries but neither fashret nor a
test: a mutant costs the tests of its group, not the seconds of importing torch. Tests that are not
marked `unit` are left out.

Why no library: mutmut 3 forks too, but has no seeded sample and no score or floor by group, leaves
properties, other decorated functions and module-level code as they are, and knows neither slices
nor `dim=` nor masks; cosmic-ray and poodle start a process with its own import of torch for every
mutant; pytest-gremlins and mutatest have no sample by group and no such mutations either.
"""

import argparse
import ast
import contextlib
import copy
import difflib
import functools
import importlib
import importlib.machinery
import importlib.util
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_DISABLE_JIT": "1", "TOKENIZERS_PARALLELISM": "false"}

ROOT = Path(__file__).resolve().parents[1]
FLOOR = 0.85


@dataclass(frozen=True)
class Group:
    """Sources that are mutated together, and the test files that must notice.

    Attributes:
        sources: paths of modules or folders below `fashret`.
        tests: paths of test files, without `.py`, or of folders, below `tests`.
    """

    sources: str
    tests: str

    @property
    def modules(self) -> list[Path]:
        """The source files."""
        found: list[Path] = []
        for name in self.sources.split():
            path = ROOT / "fashret" / name
            found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
        return found

    @property
    def files(self) -> list[str]:
        """The test files."""
        found: list[Path] = []
        for name in self.tests.split():
            path = ROOT / "tests" / name
            found += sorted(path.rglob("test_*.py")) if path.is_dir() else [Path(f"{path}.py")]
        return [str(path) for path in found]


GROUPS = {
    "functional": Group("functional", "functional losses miners evaluation/test_evaluator"),
    "losses": Group("losses", "losses test_defaults"),
    "miners": Group("miners", "miners loading/test_mined_sampler test_defaults"),
    "batches": Group(
        "loading/samplers.py loading/balanced_sampler.py loading/mined_sampler.py "
        "loading/product_sampler.py loading/task_batches.py data/balance.py "
        "data/product_batches.py",
        "loading data/test_balance data/test_product_batches tasks",
    ),
    "schedules": Group("engine/schedules.py", "engine/test_schedules"),
    "evaluation": Group(
        "evaluation tasks", "evaluation tasks functional/test_relevance reports/test_scoreboard"
    ),
    "scoreboard": Group(
        "reports/scoreboard.py evaluation/verdicts.py",
        "reports/test_scoreboard reports/test_scoreboard_text evaluation/test_comparison pipelines",
    ),
    "engine": Group("engine", "engine"),
}


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes:
        group: the name of its group.
        path: the module.
        line: where the change begins, from 1.
        source: the whole changed text of the module.
    """

    group: str
    path: Path
    line: int
    source: str

    @property
    def module(self) -> str:
        """The dotted name of the module."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def diff(self) -> str:
        """The lines that were changed."""
        before, after = self.path.read_text().splitlines(), self.source.splitlines()
        changed = list(difflib.unified_diff(before, after, n=0, lineterm=""))[3:]
        where = f"{self.path.relative_to(ROOT)}:{self.line}"
        return "\n".join([where, *(f"    {line}" for line in changed if line[:1] in "+-")])


# What an operator, a name or a keyword is replaced with.

OPERATORS: dict[type[ast.AST], list[type[ast.AST]]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Mod: [ast.Mult],
    ast.Pow: [ast.Mult],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
}

NAMES = {
    one: other
    for pair in (
        "min max",
        "any all",
        "sum mean",
        "minimum maximum",
        "argmin argmax",
        "amin amax",
        "floor ceil",
        "zeros ones",
        "zeros_like ones_like",
        "log exp",
        "sin cos",
    )
    for one, other in (pair.split(), reversed(pair.split()))
}

LOGS = ("log.", "logging.")
SEEDS = ("default_rng", "manual_seed")

SKIPPED = (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)
"""Messages, what must hold anyway, and imports. Seeds are left as they are, too."""

COMMUTATIVE = ("min", "max", "minimum", "maximum", "isclose")
"""Functions whose first two arguments may be exchanged without a change."""

SAME_EITHER_WAY = ("strict", "persistent", "dtype", "device", "indent", "index")
"""Keywords whose values decide no result."""


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that may be changed: no annotations, decorators, docstrings, messages or logs."""
    if isinstance(node, SKIPPED):
        return
    called = node.value if isinstance(node, ast.Expr) else node
    if isinstance(called, ast.Call) and ast.unparse(called.func).startswith(LOGS):
        return
    if isinstance(node, ast.keyword) and node.arg in SAME_EITHER_WAY:
        return
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(SEEDS):
        return
    if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _nodes(child)


def _changed(node: ast.AST, **fields: Any) -> ast.AST:
    """A copy with other fields."""
    made = copy.copy(node)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in OPERATORS[type(op)]:
                yield _changed(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])
    elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        for other in OPERATORS.get(type(node.op), []):
            yield _changed(node, op=other())
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Slice):
        if node.lower is not None or node.upper is not None:
            yield _changed(node, lower=node.upper, upper=node.lower)
        if node.lower is not None and node.upper is not None:
            yield _changed(node, lower=None)
            yield _changed(node, upper=None)
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
        if len(node.value.elts) > 1:
            first, second, *rest = node.value.elts
            yield _changed(node, value=_changed(node.value, elts=[second, first, *rest]))
    elif isinstance(node, ast.IfExp):
        yield _changed(node, body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.Continue | ast.Break | ast.Expr):
        yield ast.Pass()


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    """Another function, other keywords, or the first two arguments exchanged."""
    match node.func:
        case ast.Name(id=name) if name in NAMES:
            yield _changed(node, func=ast.Name(NAMES[name]))
        case ast.Attribute(attr=name) if name in NAMES:
            yield _changed(node, func=_changed(node.func, attr=NAMES[name]))
    ordered = ast.unparse(node.func).rpartition(".")[2] not in COMMUTATIVE
    if len(node.args) > 1 and ordered and not isinstance(node.args[0], ast.Starred):
        first, second, *rest = node.args
        yield _changed(node, args=[second, first, *rest])
    for i, keyword in enumerate(node.keywords):
        match keyword:
            case ast.keyword(arg="min" | "max"):
                other = _changed(keyword, arg=NAMES[str(keyword.arg)])
            case ast.keyword(arg="dim" | "axis", value=ast.Constant(value=0 | 1 as dim)):
                other = _changed(keyword, value=ast.Constant(1 - dim))
            case ast.keyword(arg="dim" | "axis"):
                other = _changed(keyword, value=ast.Constant(0))
            case ast.keyword(arg="side", value=ast.Constant(value=side)):
                other = _changed(
                    keyword, value=ast.Constant("left" if side == "right" else "right")
                )
            case _:
                continue
        yield _changed(node, keywords=[*node.keywords[:i], other, *node.keywords[i + 1 :]])


@functools.cache
def mutants_of(group: str, path: Path) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    text = path.read_text()
    lines = text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    made: dict[str, Mutant] = {}
    tree = ast.parse(text)
    of_dim = {
        id(keyword.value)
        for keyword in ast.walk(tree)
        if isinstance(keyword, ast.keyword) and keyword.arg in ("dim", "axis")
    }
    for node in _nodes(tree):
        if id(node) in of_dim:
            continue  # the call's keyword is changed instead
        for other in _replacements(node):
            assert isinstance(node, ast.expr | ast.stmt | ast.Slice)
            assert node.end_lineno is not None
            assert node.end_col_offset is not None
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            written = ast.unparse(ast.fix_missing_locations(other))
            if isinstance(node, ast.expr) and not isinstance(node, ast.Call | ast.Slice):
                written = f"({written})"
            source = (text.encode()[:start] + written.encode() + text.encode()[end:]).decode()
            if ast.dump(other) != ast.dump(node) and source not in made:
                ast.parse(source)  # a change that is no Python would count as noticed
                made[source] = Mutant(group, path, node.lineno, source)
    return sorted(made.values(), key=lambda mutant: mutant.line)


def sample(groups: Sequence[str], size: int, seed: int) -> list[Mutant]:
    """Equally many mutants of each group; a small group gives its rest to the larger ones."""
    pools = {
        name: [m for path in GROUPS[name].modules for m in mutants_of(name, path)]
        for name in groups
    }
    chosen: list[Mutant] = []
    for left, name in zip(
        range(len(pools), 0, -1), sorted(pools, key=lambda name: len(pools[name])), strict=True
    ):
        wanted = min(len(pools[name]), (size - len(chosen)) // left)
        chosen += random.Random(f"{seed} {name}").sample(pools[name], wanted)
    order = {name: i for i, name in enumerate(groups)}
    return sorted(chosen, key=lambda m: (order[m.group], m.path, m.line))


class _MutantLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from a text instead of its file, and leaves no bytecode behind."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(mutant.module, str(mutant.path))
        self.mutant = mutant

    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        """Answer for the one module, as an entry of `sys.meta_path`."""
        if name != self.mutant.module:
            return None
        return importlib.util.spec_from_file_location(name, self.mutant.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        """The changed module."""
        return compile(self.mutant.source, str(self.mutant.path), "exec", dont_inherit=True)


class _Selection:
    """A pytest plugin: leaves out all but unit tests; the module's own come first, then the quick.

    Args:
        seconds: how long each test took without a mutant.
        own: the name of the test file of the mutated module.
    """

    def __init__(self, seconds: dict[str, float], own: str) -> None:
        self.seconds = seconds
        self.own = own
        self.measured: dict[str, float] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Choose and order the tests."""
        unit = [item for item in items if item.get_closest_marker("unit")]
        items[:] = sorted(
            unit, key=lambda item: (item.path.stem != self.own, self.seconds.get(item.nodeid, 0.0))
        )

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Measure a test."""
        before = self.measured.get(report.nodeid, 0.0)
        self.measured[report.nodeid] = before + report.duration


def _in_child(group: str, mutant: Mutant | None, seconds: dict[str, float], out: str | None) -> int:
    """Run a group's tests in this process; returns pytest's exit status."""
    os.setsid()
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        if mutant is not None:
            sys.meta_path.insert(0, _MutantLoader(mutant))  # type: ignore[arg-type]
        import pytest

        plugin = _Selection(seconds, f"test_{mutant.path.stem}" if mutant else "")
        options = ["-x", "-q", "-o", "addopts=", "--import-mode=importlib"]
        options += ["-p", "no:xdist", "-p", "no:cacheprovider"]
        status = int(pytest.main([*options, *GROUPS[group].files], plugins=[plugin]))
    if out is not None:
        own = ("fashret", "hydra_plugins", "support", "tests", "__main__", "__mp_main__")
        modules = [name for name in sys.modules if not name.startswith(own)]
        report = {"seconds": plugin.measured, "modules": modules, "text": text.getvalue()}
        Path(out).write_text(json.dumps(report))
    return status


def _fork(group: str, mutant: Mutant | None, seconds: dict[str, float], out: str | None) -> int:
    """Start the tests in a fork of this process; returns its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            status = _in_child(group, mutant, seconds, out)
        finally:
            os._exit(status)
    return pid


def unmutated(group: str) -> dict[str, Any]:
    """Run a group's tests as they are: they must pass, and they say what to import beforehand."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        _, status = os.waitpid(_fork(group, None, {}, str(out)), 0)
        report: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"text": ""}
    if status != 0:
        sys.exit(f"{group}: the tests fail without a mutant\n{report['text']}")
    for name in report["modules"]:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    return report


def survivors(
    mutants: Sequence[Mutant], seconds: dict[str, dict[str, float]], jobs: int
) -> list[Mutant]:
    """Try each mutant, a few at a time; one that does not end in time counts as killed."""
    limits = {name: 20.0 + 5.0 * sum(times.values()) for name, times in seconds.items()}
    queue, running, alive = list(reversed(mutants)), {}, []
    while queue or running:
        while queue and len(running) < jobs:
            mutant = queue.pop()
            pid = _fork(mutant.group, mutant, seconds[mutant.group], None)
            running[pid] = (mutant, time.monotonic() + limits[mutant.group])
        for pid, (mutant, deadline) in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended and time.monotonic() < deadline:
                continue
            if not ended:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            elif status == 0:
                alive.append(mutant)
                print(f"survived: {mutant.diff()}", flush=True)
            del running[pid]
        time.sleep(0.02)
    return alive


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--sample", type=int, default=400, help="how many mutants to try")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time")
    args = parser.parse_args()
    if unknown := set(args.groups) - set(GROUPS):
        parser.error(f"no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    groups = args.groups or list(GROUPS)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    began = time.monotonic()
    mutants = sample(groups, args.sample, args.seed)
    seconds = {name: unmutated(name)["seconds"] for name in groups}
    alive = survivors(mutants, seconds, args.jobs)
    print(f"\n{len(mutants)} mutants in {(time.monotonic() - began) / 60:.1f} minutes")
    passed = True
    for name in groups:
        tried = sum(m.group == name for m in mutants)
        killed = tried - sum(m.group == name for m in alive)
        passed &= killed >= FLOOR * tried
        print(f"{name:12s} {killed:4d} of {tried:4d} killed: {killed / max(tried, 1):.2f}")
    if not passed:
        print(f"a group is below the floor of {FLOOR}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
