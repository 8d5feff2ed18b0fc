"""Commands of the README and of docs/: all are accepted, and those on lines of their own run."""

import contextlib
import functools
import importlib
import io
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from PIL import Image

import fashret
from fashret.cli.main import COMMANDS
from fashret.cli.options import Composed
from support.commands import Run, composed
from support.judged import small_table, write_log, write_triples
from support.official_sets import inshop

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
NAMES = "|".join(COMMANDS)
ARGUMENT = r"""(?:'[^']*'|-[\w-]+|job|[\w.@+/~]+=(?:<[^>]*>|"[^"]*"|'[^']*'|[^\s`<"'|])+)"""
POSITIONAL = r"""(?:"[^"]*"|'[^']*'|(?!\#)(?:<[^>]*>|[^\s`<"'|])+)"""
"""What a command takes that parses its arguments by itself."""

OWN_PARSER = ("compare", "search", "cache", "doctor")
COMMAND = re.compile(
    rf"(?:\bfashret (?P<own>{'|'.join(OWN_PARSER)})\b(?P<positional>(?: +{POSITIONAL})*)"
    r"|(?:python (?P<script>train|evaluate|build_catalog)\.py"
    r"|fashret-(?P<alias>train|evaluate|build-catalog|export|view|demo)\b"
    rf"|\bfashret (?P<command>{NAMES})\b)"
    rf"(?P<arguments>(?: +{ARGUMENT})*))"
)


def commands() -> list[tuple[str, str, str]]:
    """Page, command and arguments of every command line."""
    found = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for match in COMMAND.finditer(text):
            arguments = (match["positional"] or match["arguments"] or "").strip().rstrip(":,")
            name = match["own"] or match["script"] or (match["alias"] or "").replace("-", "_")
            found.append((page.name, name or COMMANDS[match["command"]][0], arguments))
    return found


def test_the_documentation_has_commands() -> None:
    """Every mention of a command is read as one, and every command of the package is shown."""
    found = commands()
    entry_point = set()
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        mentions = re.findall(r"python \w+\.py|fashret-(?!tiny\b)[a-z-]+", text)
        by_entry_point = re.findall(rf"\bfashret ({NAMES})\b", text)
        mine = [command for name, command, _ in found if name == page.name]
        scripts = [m for m in mentions if m.startswith("python ") or m in SCRIPTS]
        assert len(mine) == len(scripts) + len(by_entry_point), page.name
        assert len(scripts) == len(mentions), f"{page.name} names what is no command: {mentions}"
        entry_point |= set(by_entry_point)
    assert SCRIPTS["fashret"] == "fashret.cli.main:main"
    assert entry_point == COMMANDS.keys(), "what `fashret <command>` takes"
    modules = {target.split(":")[0].rpartition(".")[2] for target in SCRIPTS.values()} - {"main"}
    assert {command for _, command, _ in found} == {name for name, _ in COMMANDS.values()}
    assert modules <= {command for _, command, _ in found}
    assert len(found) > 80


def run_by_itself(command: str, arguments: list[str], patch: pytest.MonkeyPatch) -> str:
    """Run a command that parses its arguments by itself; return what it printed."""
    said = io.StringIO()
    patch.setattr(sys, "argv", [f"fashret {command}", *arguments])
    with contextlib.redirect_stdout(said):
        importlib.import_module(f"fashret.cli.{command}").main()
    return said.getvalue()


def help_of(command: str, patch: pytest.MonkeyPatch) -> list[str]:
    """The words of a command's help, without punctuation."""
    patch.setattr(sys, "argv", [f"fashret {command}", "--help"])
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
        importlib.import_module(f"fashret.cli.{command}").main()
    return re.findall(r"-{0,2}\w[\w-]*", said.getvalue())


def compared(arguments: list[str]) -> list[str]:
    """The overrides of `fashret evaluate` that `fashret compare` stands for."""
    run, other, *overrides = arguments
    return [f"run={run}", f"baseline={other}", *overrides]


@pytest.mark.run
@pytest.mark.parametrize(("page", "command", "arguments"), commands())
def test_a_documented_command_is_accepted(
    page: str, command: str, arguments: str, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = re.sub(r"<([^>]*)>", lambda m: re.sub(r"\W", "_", m[1]), arguments)
    words = shlex.split(named)
    if command in ("search", "cache"):
        known = help_of(command, monkeypatch)
        assert [word for word in words if word.startswith("-") and word not in known] == []
        return
    if command == "doctor":
        assert words == []
        return
    if command == "compare":
        command, words = "evaluate", compared(words) if words else []
    given = [a for a in words if a[0] != "-" and a != "job"]
    parsed = OverridesParser.create().parse_overrides(given)
    overrides = []
    for override in parsed:
        if isinstance(override.value(), Glob):
            folder = ROOT / "conf" / str(override.key_or_group)
            overrides += [f"{folder.name}={option.stem}" for option in sorted(folder.iterdir())][
                -1:
            ]
        elif override.is_sweep_override():
            values = list(override.sweep_string_iterator())
            overrides += [f"{override.key_or_group}={value}" for value in values[-1:]]
        else:
            overrides.append(str(override.input_line))
    overrides = [o for o in overrides if o != "experiment=mine"]  # the reader's own
    cfg = composed(command, [*overrides, f"paths.output_dir={cache_dir}"])
    Composed.checked(cfg, command)


FENCE = re.compile(r"^```\n(.*?)^```", re.S | re.M)
RUNS = re.compile(r"=(outputs/train/<\w+>|outputs/tour/after|aware|plain)(?=\s|$)")
SMALLER = {
    "model=vitb32": ["model.name=fashret-tiny", "model.pretrained=null"],  # it is a download
    "experiment=pretrain_tiny": ["data.parts.drawn.products=48", "data.num_workers=0"],
}
"""What shrinks a command, or stands in for a download."""

LEFT = {
    "train": "metrics.json",
    "evaluate": "metrics.json",
    "view": "overrides.csv",
    "export": "open_clip_config.json",
    "build_catalog": "manifest.json",
}

LEFT_BY = {"dry_run=true": "proposed/targets/proposed.yaml", "catalog.part=": None}
"""What a command leaves instead, by a word of it; None for nothing outside of the cache."""

SHOWN = {"search": r"score.*item", "cache": r"\d+ entries", "doctor": r"ok +model"}
"""What commands print that leave no files."""


def fenced() -> list[str]:
    """Each command that stands on a line of its own, as it is run here, once.

    A run folder is one that a test made, a set a small copy, a sweep its first job. The demo and
    tensorboard are run by tests/test_browser.py, parts of one's own by
    tests/test_extending.py, installing and testing by .ci/run, sweeps by tests/test_sweep.py.
    """
    found = []
    for page in PAGES:
        for block in FENCE.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                command = re.split(r"\s#\s", line)[0].strip()
                if not re.match(
                    rf"python \w+\.py|fashret-(export|view)\b|fashret (?!demo\b)({NAMES})\b",
                    command,
                ):
                    continue
                command = re.sub(RUNS, "=trained", command)
                command = re.sub(r"\soutputs/train/<\w+>", " trained", command)
                command = re.sub(r"<[^>]*>", "fashion-products", command)
                command = re.sub(r"\s(-m|hydra\.run\.dir=\S+|resume=\S+)", "", command)
                command = re.sub(r"\s(loss|seed|task)=([^\s,\[]+),\S+", r" \1=\2", command)
                command = re.sub(r"\s(out|catalog\.dir)=\S+", r" \1=made", command)
                found.append(command.replace("glob(*)", "no_hard"))
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A reader's folder: photos with a table, small copies of two sets, and a run."""
    desk = tmp_path_factory.mktemp("desk")
    rng = np.random.default_rng(0)
    for folder in ("photos", "fashion-products/images"):
        (desk / folder).mkdir(parents=True)
        for number in range(60):
            photo = Image.new("RGB", (30, 40), tuple(rng.integers(0, 255, 3).tolist()))
            photo.paste(tuple(rng.integers(0, 255, 3).tolist()), (5, 5, 8 + number % 17, 30))
            photo.save(desk / folder / f"{number}.jpg")
    kinds = ["cardigans", "shorts", "dresses"]
    said = ["A {} with a v-neck", "A striped {} of denim", "Red {}, round neckline"]
    rows = [
        f"{n}.jpg,{said[n % 4 % 3].format(kinds[n % 3])} {n // 2},{kinds[n % 3]},p{n // 2}"
        for n in range(60)
    ]
    table = "\n".join(["image,text,category,product_id", *(r.replace(", r", " r") for r in rows)])
    (desk / "photos" / "items.csv").write_text(table)
    vectors = rng.standard_normal((60, 16)).astype(np.float32)
    ids = [f"{number}.jpg" for number in range(60)]
    exported = {"id": ids, "vector": list(vectors), "text_vector": list(vectors[::-1])}
    pq.write_table(pa.table(exported), desk / "vectors.parquet")
    (desk / "views").symlink_to(desk / "photos")
    (desk / "shards").mkdir()
    photos = [(desk / "photos" / name).read_bytes() for name in ids]
    shard = {
        "item_id": ids,
        "image": photos,
        "text": [said[n % 3].format("top") for n in range(60)],
    }
    pq.write_table(pa.table(shard), desk / "shards" / "train-00000-of-00001.parquet")
    export = ["Handle,Title,Type,Image Src"]
    export += [f"h{n // 2},A {kinds[n // 2 % 3]} {n // 2},{kinds[n // 2 % 3]},photos/{n}.jpg"
               for n in range(60)]  # fmt: skip
    (desk / "products_export.csv").write_text("\n".join(export))
    sample = small_table(cache_dir)
    write_log(desk / "log.csv", sample)
    write_triples(desk / "triples.csv", sample)
    (desk / "shop").mkdir()
    (desk / "shop" / "items.csv").write_text(table)
    clicks = [
        f"{split} {n % 3},{n}.jpg,{1 + n % 4},{split}"
        for n in range(60)
        for split in ("train", "validation", "test")
    ]
    (desk / "shop" / "log.csv").write_text("\n".join([(desk / "log.csv").read_text(), *clicks]))
    styles = [
        f"{n},{['Men', 'Women'][n % 2]},Apparel,Topwear,{['Shirts', 'Tshirts'][n % 3 % 2]},"
        f"{['Red', 'Blue', 'Black'][n % 3]},Summer,2012,Casual,Brand {n} Striped Shirt"
        for n in range(60)
    ]
    header = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,"
    (desk / "fashion-products" / "styles.csv").write_text(
        "\n".join([f"{header}productDisplayName", *styles])
    )
    inshop(desk / "inshop")
    blocks = "model.attribute_blocks={neckline: 16}"
    Run(desk, cache_dir)("train", "trainer.max_epochs=1", blocks, folder="trained")
    return desk


@pytest.mark.run
@pytest.mark.parametrize("command", fenced())
def test_a_command_on_a_line_of_its_own_runs(
    command: str, desk: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    words = [word for word in shlex.split(command) if word != "python"]
    if words[0] == "fashret":
        words = [COMMANDS[words[1]][0], *words[2:]]
    name = words[0].removeprefix("fashret-").removesuffix(".py")
    if name in SHOWN:
        assert re.search(SHOWN[name], run_by_itself(name, words[1:], monkeypatch))
        return
    if name == "compare":
        name, words = "evaluate", ["evaluate", *compared(words[1:])]
    overrides = [re.sub("=made$", f"={tmp_path}/run", word) for word in words[1:]]
    for part, smaller in SMALLER.items():
        overrides += smaller if part in overrides else []
    other = ("data=", "experiment=pretrain", "experiment=attribute_aware_")
    own = not any(override.startswith(other) for override in overrides)
    if name == "train":
        overrides += ["trainer.max_epochs=1", "trainer.limit_train_batches=2"]
        overrides += ["data.batch_size=16", "optimizer.lr=1e-4"]
    if name in ("train", "evaluate"):
        overrides.append("retrieval.resamples=20")
    if name == "build_catalog" and "catalog.dir" not in command:
        overrides.append(f"catalog.dir={tmp_path}/run")
    folder = Run(tmp_path, cache_dir)(name, *overrides, small=own and name != "export")
    left = next((file for word, file in LEFT_BY.items() if word in command), LEFT[name])
    assert left is None or (folder / left).is_file()


EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.S | re.M)
AT_HAND = {
    "outputs/train/2026-01-31_12-00-00": "trained",
    "outputs/train/other": "trained",
    '"photo.jpg"': '"photos/1.jpg"',
    '"a.jpg", "b.jpg"': '"photos/1.jpg", "photos/2.jpg"',
    'fashret.ModelSpec(name="ViT-B-32", pretrained="openai")': "fashret.ModelSpec()",
    '"model=vitb32", ': "",
}
"""What an example of Python names, and what stands for it here."""


@pytest.mark.run
@pytest.mark.parametrize(("page", "number"), [("docs/python.md", 5), ("README.md", 1)])
def test_the_examples_of_python_run(
    page: str, number: int, desk: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the page, in one namespace, on the reader's folder."""
    monkeypatch.chdir(desk)
    small = ("trainer.max_epochs=1", "data.num_workers=0", "gallery=false", "latency=false")
    monkeypatch.setattr(
        fashret, "train", functools.partial(fashret.train, *small, "retrieval.resamples=1000")
    )
    examples = EXAMPLE.findall((ROOT / page).read_text())
    assert len(examples) == number
    names: dict[str, Any] = {}
    for example in examples:
        for written, here in AT_HAND.items():
            example = example.replace(written, here)
        exec(compile(example, page, "exec"), names)
    assert names["run"].model.encode_text(["red v-neck cardigan"]).shape == (1, 256)
    if "result" in names:
        assert 0.0 <= names["result"].metrics["test/image/product/hit@10"]["value"] <= 1.0
        assert names["texts"].shape == names["photos"].shape == (2, 256)
