"""Commands of the README and of docs/: all are accepted, and those on lines of their own run."""

import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from PIL import Image

from fashret.cli.compose import Composed
from support.commands import Run, composed
from support.official_sets import inshop

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
ARGUMENT = r"""(?:'[^']*'|-[\w-]+|job|[\w.@+/~]+=(?:<[^>]*>|"[^"]*"|'[^']*'|[^\s`<"'|])+)"""
COMMAND = re.compile(
    r"(?:python (train|evaluate|build_catalog)\.py"
    r"|fashret-(train|evaluate|build-catalog|export|view|demo))"
    rf"((?: +{ARGUMENT})*)"
)


def commands() -> list[tuple[str, str, str]]:
    """Page, command and arguments of every command line."""
    found = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for first, second, arguments in COMMAND.findall(text):
            found.append(
                (page.name, (first or second).replace("-", "_"), arguments.strip().rstrip(":,"))
            )
    return found


def test_the_documentation_has_commands() -> None:
    """Every mention of a command is read as one, and every command of the package is shown."""
    found = commands()
    for page in PAGES:
        mentions = re.findall(
            r"python \w+\.py|fashret-(?!tiny\b)[a-z-]+", page.read_text().replace("\\\n", " ")
        )
        mine = [command for name, command, _ in found if name == page.name]
        scripts = [m for m in mentions if m.startswith("python ") or m in SCRIPTS]
        assert len(mine) == len(scripts), page.name
        assert len(scripts) == len(mentions), f"{page.name} names what is no command: {mentions}"
    assert {command for _, command, _ in found} == {
        name.removeprefix("fashret-").replace("-", "_") for name in SCRIPTS
    }
    assert len(found) > 70


@pytest.mark.run
@pytest.mark.parametrize(("page", "command", "arguments"), commands())
def test_a_documented_command_is_accepted(
    page: str, command: str, arguments: str, cache_dir: Path
) -> None:
    named = re.sub(r"<([^>]*)>", lambda m: re.sub(r"\W", "_", m[1]), arguments)
    given = [a for a in shlex.split(named) if a[0] != "-" and a != "job"]
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


def fenced() -> list[str]:
    """Each command that stands on a line of its own, as it is run here, once.

    A run folder is one that a test made, a set a small copy, a sweep its first job. fashret-demo
    and tensorboard are run by tests/test_browser.py, parts of one's own by
    tests/test_extending.py, installing and testing by .ci/run, sweeps by tests/test_sweep.py.
    """
    found = []
    for page in PAGES:
        for block in FENCE.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                command = re.split(r"\s#\s", line)[0].strip()
                if not re.match(r"python \w+\.py|fashret-(export|view)\b", command):
                    continue
                command = re.sub(RUNS, "=trained", command)
                command = re.sub(r"<[^>]*>", "fashion-products", command)
                command = re.sub(r"\s(-m|hydra\.run\.dir=\S+|resume=\S+)", "", command)
                command = re.sub(r"\s(loss|seed)=([^\s,]+),\S+", r" \1=\2", command)
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
    name = words[0].removeprefix("fashret-").removesuffix(".py")
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
    assert (folder / LEFT[name]).is_file()
