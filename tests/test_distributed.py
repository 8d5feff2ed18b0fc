"""Two processes give what one gives."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from fashret.catalog.folder import open_catalog
from support.commands import QUIET, SMALL, Run, lines
from support.forked import forked
from support.judged import small_table, write_log, write_triples

pytestmark = pytest.mark.distributed

ROOT = Path(__file__).parents[1]


def start(
    name: str,
    folder: Path,
    cache: Path,
    *overrides: str,
    sweep: bool = False,
    strategy: bool = True,
) -> str:
    """A command in a folder, with two processes as torchrun starts them; what it printed."""
    folder.mkdir(parents=True)
    quiet = (*SMALL, *QUIET, "gallery=false") if name == "train" else SMALL[:3]
    words = [
        *(f"{name}.py", *["-m"] * sweep, *quiet),
        *("trainer.accelerator=cpu", "device=cpu", "trainer.devices=2"),
        *(["trainer.strategy=ddp"] if strategy else []),
        *overrides,
    ]
    own = {"FASHRET_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    if sweep:  # its jobs start their processes themselves, as a command does without torchrun
        done = subprocess.run(
            [sys.executable, str(ROOT / words[0]), *words[1:]],
            env=os.environ | own, capture_output=True, text=True, timeout=200, cwd=folder,
        )  # fmt: skip
    else:
        done = forked(words, folder, own, processes=2)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


LR = 1e-2


def same_weights(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], *, lr: float) -> None:
    """Compare weights that AdamW made of the same gradients, summed in another order.

    AdamW divides a gradient by its own size, so that the rounding of one that is nearly zero moves
    a weight by up to lr in a step. That befalls few weights: none may differ by more than lr, and
    one in a thousand by more than lr / 1000.
    """
    assert one.keys() == two.keys()
    differences = torch.cat([(one[n].float() - two[n].float()).abs().flatten() for n in one])
    assert float(differences.max()) <= lr
    assert float((differences > lr / 1000).float().mean()) <= 1e-3


def test_two_nodes_learn_and_measure_what_one_process_does(run: Run) -> None:
    # Two batches of 8, gathered, are one of 16. The 24 validation items are one batch, so that one
    # process embeds everything and the other nothing, and each searches half of the queries.
    options = ("trainer.max_epochs=2", f"optimizer.lr={LR}")
    run("train", *options, "data.batch_size=16", folder="one")
    here = run.at("here")
    here.mkdir()
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:29577", "--rdzv-id", "two"),
        *(str(ROOT / "train.py"), "trainer=ddp", "trainer.num_nodes=2", "trainer.devices=1"),
        *(*SMALL, *QUIET, *options, "data.batch_size=8", "gallery=false"),
        *("trainer.accelerator=cpu", "device=cpu"),
    ]
    environment = os.environ | {"FASHRET_CACHE": str(run.cache_dir), "OMP_NUM_THREADS": "1"}
    nodes = [
        subprocess.Popen(command, env=environment, cwd=here, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for node in nodes:
        said = node.communicate(timeout=200)[1]
        assert node.returncode == 0, said[-2000:]
    assert [path.name for path in here.iterdir()] == ["outputs"]  # no process left anything else
    (folder,) = (here / "outputs" / "train").iterdir()
    assert (folder / ".hydra" / "config.yaml").is_file()
    one, two = lines(run.at("one"))[-1], lines(folder)[-1]
    compared = 0
    for key, value in one.items():
        if key.startswith("val/"):
            compared += 1
            assert two[key] == (value if value is None else pytest.approx(value, abs=1e-7)), key
    assert compared > 400
    assert two["train/loss"] == pytest.approx(one["train/loss"], abs=1e-5)
    assert (folder / "metrics.json").is_file()
    weights = [
        torch.load(where / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for where in (run.at("one"), folder)
    ]
    same_weights(weights[0], weights[1], lr=LR)


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("product", ("loss=arcface", "task.product.memory=24", "miner=hard", "miner.ramp=0")),
        ("[caption,product,attribute]", ("loss=infonce",)),
        ("[search_log,composed,street]", ("miner=hard", "miner.ramp=0", "miner.skip=0")),
    ],
)
def test_two_processes_learn_for_every_task_what_one_does(
    run: Run, tmp_path: Path, task: str, more: tuple[str, ...]
) -> None:
    if "search_log" in task:
        table = small_table(run.cache_dir)
        log = write_log(tmp_path / "log.csv", table)
        triples = write_triples(tmp_path / "triples.csv", table)
        more = (*more, f"data.judgments={log}", f"data.triples={triples}")
    options = (f"task={task}", *more, "trainer.max_epochs=2", f"optimizer.lr={LR}")
    run("train", *options, "data.batch_size=16", folder="one")
    start("train", tmp_path / "two", run.cache_dir, *options, "data.batch_size=8")
    (folder,) = (tmp_path / "two" / "outputs" / "train").iterdir()
    one, two = lines(run.at("one"))[-1], lines(folder)[-1]
    assert two["train/loss"] == pytest.approx(one["train/loss"], abs=1e-5)
    keys = ("val/image/product/map@10", "val/text/pair/mrr@10")
    judged = ("val/text/judged/ndcg@10", "val/composed/judged/mrr@10")
    for key in (*keys, *(judged if "search_log" in task else ())):
        assert two[key] == pytest.approx(one[key], abs=1e-3), key
    weights = [
        torch.load(where / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for where in (run.at("one"), folder)
    ]
    same_weights(weights[0], weights[1], lr=LR)


def test_two_processes_build_the_catalog_of_one(run: Run) -> None:
    # 480 items: two batches of the training split and one each of the others.
    folders = [f"catalog.dir={run.at(name)}" for name in ("one", "two")]
    run("build_catalog", "data.products=240", folders[0], folder="run")
    printed = start("build_catalog", run.at("cwd"), run.cache_dir, "data.products=240", folders[1])
    assert printed.count("verified") == 1
    one, two = (open_catalog(run.at(name)) for name in ("one", "two"))
    assert len(one) == 480
    for kind in ("image", "text", "image_features", "text_features"):
        assert torch.equal(getattr(one, kind), getattr(two, kind)), kind
    assert one.manifest["key"] == two.manifest["key"]
    assert one.manifest["files"].keys() == two.manifest["files"].keys()


def test_two_processes_evaluate_as_one(run: Run) -> None:
    small = ("data.products=48", "data.num_workers=0", "retrieval.resamples=100")
    run("evaluate", *small, folder="one")
    here = f"hydra.run.dir={run.at('two')}"
    start("evaluate", run.at("cwd"), run.at("cache"), here, *small)  # an empty cache: both encode
    one, two = (
        json.loads((run.at(name) / "metrics.json").read_text())["metrics"]
        for name in ("one", "two")
    )
    assert len(one) > 400
    assert one == two


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A small vision transformer with random weights, as open_clip keeps a model."""
    config: dict[str, Any] = {
        "embed_dim": 32,
        "vision_cfg": {
            "image_size": 32, "patch_size": 8, "layers": 2, "width": 64, "head_width": 32,
        },
        "text_cfg": {"context_length": 32, "width": 64, "heads": 2, "layers": 2},
    }  # fmt: skip
    folder = tmp_path / "bundle"
    folder.mkdir()
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    whole = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    torch.manual_seed(0)
    weights = open_clip.CLIP(**config).state_dict()
    save_file(
        {name: value.contiguous() for name, value in weights.items()},
        folder / "open_clip_model.safetensors",
    )
    return folder


def test_towers_that_are_shared_out_learn_what_whole_ones_do(run: Run, bundle: Path) -> None:
    # CPU processes play the GPUs. 24 validation items: one process judges the other's batch again.
    options = (
        "model.pretrained=null", f"model.name=local-dir:{bundle}", "model.train=all",
        "optimizer.lr=1e-3", "trainer.max_epochs=2",
    )  # fmt: skip
    run("train", *options, "data.batch_size=16", folder="one")
    shared = ("trainer=fsdp", "trainer.precision=32-true", "data.batch_size=8")
    start("train", run.at("cwd"), run.cache_dir, f"hydra.run.dir={run.at('two')}", *options,
          *shared, "trainer.max_epochs=1", "scheduler.epochs=2", strategy=False)  # fmt: skip
    start("train", run.at("again"), run.cache_dir, f"resume={run.at('two')}",
          "data.batch_size=8", "trainer.max_epochs=2", strategy=False)  # fmt: skip
    one, two = lines(run.at("one"))[-1], lines(run.at("two"))[-1]
    assert one["epoch"] == two["epoch"] == 2
    assert two["train/loss_epoch"] == pytest.approx(one["train/loss_epoch"], abs=1e-5)
    compared = [key for key in one if key.startswith("val/") and one[key] is not None]
    assert len(compared) > 400
    for key in compared:
        assert two[key] == pytest.approx(one[key], abs=1e-7), key
    weights = [
        torch.load(run.at(name) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "two")
    ]
    assert len(weights[0]) > 60
    assert weights[0].keys() == weights[1].keys()
    same_weights(weights[0], weights[1], lr=1e-3)


def test_a_sweep_of_two_processes_makes_a_folder_a_job_and_outlives_one_that_fails(
    run: Run,
) -> None:
    here = run.at("here")
    options = ("retrieval.weight_image=2,0.7", "trainer.max_epochs=1", "hydra.sweep.dir=swept")
    printed = start("train", here, run.cache_dir, *options, sweep=True)
    assert sorted(p.name for p in here.iterdir()) == ["swept"]
    assert sorted(p.name for p in (here / "swept").iterdir() if p.is_dir()) == ["0", "1"]
    failed = (here / "swept" / "0" / "failed.txt").read_text()
    assert failed.startswith("retrieval.weight_image=2: it must be within 0 and 1")
    job = here / "swept" / "1"
    assert not (job / "failed.txt").exists()
    assert (job / ".hydra" / "config.yaml").is_file()
    assert len((job / "train_log.jsonl").read_text().splitlines()) == 2  # epochs 0 and 1
    found = json.loads((job / "metrics.json").read_text())["metrics"]["val/text/pair/mrr@10"]
    assert json.loads((job / "objective.json").read_text())["value"] == found["value"]
    assert "1 of 2 jobs failed" in printed


ONE_WITHOUT_PAIRS = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fashret import losses
from fashret.types import Relations

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=sys.argv[2], rank=rank, world_size=2)


class Model(nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.head, self.loss = nn.Linear(4, 4), loss

    def forward(self, rows, columns, relations):
        return self.loss(self.head(rows), columns, relations)


own = torch.eye(6, dtype=torch.bool)
none = torch.zeros_like(own)
for name in ("InfoNCE", "SupCon", "SigLIP"):
    model = DistributedDataParallel(Model(getattr(losses, name)()))
    for step in range(3):
        model.zero_grad()
        lacking = rank == step % 2
        relations = Relations(none, none) if lacking else Relations(own, ~own)
        model(torch.randn(6, 4), torch.randn(6, 4), relations).backward()
        assert all(p.grad is not None for p in model.parameters()), name
print("done")
"""


def test_a_process_without_a_valid_pair_does_not_end_a_run_of_several(tmp_path: Path) -> None:
    """DistributedDataParallel waits for the gradient of every parameter, the temperature too."""
    meeting = f"file://{tmp_path / 'meeting'}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_WITHOUT_PAIRS, str(rank), meeting],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        out, said = process.communicate(timeout=200)
        assert process.returncode == 0, said[-2000:]
        assert out.strip() == "done"
