"""The loss, miner, source and metric of examples/, used as docs/extending.md says."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fashret.types import Relations
from support.forked import forked

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from examples.align_uniform import AlignUniform  # noqa: E402
from examples.all_right import all_right  # noqa: E402
from examples.top_negatives import TopNegatives  # noqa: E402


@pytest.fixture
def products(tmp_path: Path) -> Path:
    root = tmp_path / "products"
    rng = np.random.default_rng(0)
    for number in range(14):
        folder = root / f"p{number}"
        folder.mkdir(parents=True)
        told = {
            "title": f"shirt {number}",
            "category": "shirts",
            "colour": ["red", "blue"][number % 2],
        }
        (folder / "product.json").write_text("{" if number == 13 else json.dumps(told))
        for view in range(2):
            pixels = rng.integers(0, 255, (24, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{view}.jpg")
    return root


@pytest.mark.run
def test_parts_of_ones_own_train_together(products: Path, tmp_path: Path) -> None:
    command = [
        "train.py", "--config-dir", "examples/conf", "data=product_folders",
        f"data.root={products}", "loss=align_uniform", "miner=top_negatives", "miner.keep=3",
        "retrieval=all_right", "retrieval.k=[3,10]", "targets=none", "gallery=false",
        "trainer.max_epochs=2",
        "data.splits={train: 0.6, validation: 0.4, test: 0.0}", "data.batch_size=8",
        "data.num_workers=0", "device=cpu", "trainer.accelerator=cpu", "retrieval.resamples=50",
        "trainer.enable_progress_bar=false", f"hydra.run.dir={tmp_path / 'run'}",
        f"paths.cache_dir={tmp_path / 'cache'}",
    ]  # fmt: skip
    refused = forked(command, ROOT, {})
    assert refused.returncode == 1
    assert "FASHRET_EXTENSIONS=examples allows it" in refused.stderr
    done = forked(command, ROOT, {"FASHRET_EXTENSIONS": "examples"})
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    last = json.loads((run / "train_log.jsonl").read_text().splitlines()[-1])
    results = json.loads((run / "metrics.json").read_text())["metrics"]
    watched = json.loads((run / "scoreboard.json").read_text())["watched"]
    for k in (3, 10):
        key = f"val/image/colour/all_right@{k}"
        assert 0.0 <= last[key] <= 1.0
        assert 0.0 <= results[key]["low"] <= results[key]["value"] <= results[key]["high"] <= 1.0
        assert results[key]["n"] > 0
    assert "val/image/colour/all_right@10" in {row["key"] for row in watched}
    (report,) = (tmp_path / "cache" / "data").glob("products-*/report.json")
    counted = json.loads(report.read_text())
    assert counted["dropped"] == {"no readable product.json": 2}
    assert counted["rows_kept"] == 26


def test_the_loss_is_its_formula() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    columns = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    relations = Relations(torch.eye(2, dtype=torch.bool), ~torch.eye(2, dtype=torch.bool))
    # Right pairs at squared distances 2 and 0, wrong ones at 2 and 0.
    expected = 1.0 + np.log((np.exp(-4.0) + 1.0) / 2.0)
    assert float(AlignUniform()(rows, columns, relations)) == pytest.approx(expected)


def test_the_miner_keeps_the_hardest() -> None:
    similarity = torch.tensor([[0.9, 0.8, 0.1, 0.5]])
    negative = torch.tensor([[False, True, True, True]])
    relations = Relations(torch.tensor([[True, False, False, False]]), negative)
    kept = TopNegatives(keep=2).of_rows(similarity, relations, dim=2)
    assert kept.negative.tolist() == [[False, True, False, True]]
    assert kept.positive.tolist() == [[True, False, False, False]]


def test_the_metric_asks_for_as_many_as_there_are() -> None:
    hits = torch.tensor([[True, True, False], [True, False, True], [True, False, False]])
    num_relevant = torch.tensor([5, 5, 1])
    # Of the first two all are relevant to the first query alone; the last has one answer at all.
    assert all_right(hits, num_relevant, 2).tolist() == [1.0, 0.0, 1.0]
