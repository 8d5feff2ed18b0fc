"""The recipes of published protocols, on small copies: train, then the official protocol."""

import json
from pathlib import Path

import pytest

from fashret.models.checkpoint import read_checkpoint
from support.commands import Run, lines
from support.official_sets import inshop, listed
from support.sources import photo

pytestmark = [pytest.mark.run, pytest.mark.usefixtures("stand_ins")]

SMALL = (
    "model=tiny", "data.batch_size=8", "data.batch.photos=2", "data.num_workers=0",
    "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1", "retrieval.resamples=20",
    "retrieval.k=[1,10]",
)  # fmt: skip


def consumer2shop(root: Path) -> None:
    """Ten products with two consumers' and two shop photos each."""
    pairs = []
    for product in range(10):
        status = "train" if product < 6 else "val" if product < 8 else "test"
        for view in range(2):
            names = [
                f"img/DRESSES/Dress/id_{product}/{who}_0{view}.jpg" for who in ("comsumer", "shop")
            ]
            for i, name in enumerate(names):
                photo(root / name, 20 * product + 2 * view + i)
            pairs.append(f"{names[0]}  {names[1]}  id_{product}  {status}")
    header = "image_pair_name_1 image_pair_name_2 item_id evaluation_status"
    listed(root / "Eval" / "list_eval_partition.txt", header, *pairs)


@pytest.mark.parametrize(
    ("recipe", "make", "task", "gallery"),
    [("inshop", inshop, "product", 8), ("consumer2shop", consumer2shop, "street", 4)],
)
def test_a_recipe_trains_and_its_protocol_evaluates_the_run(
    run: Run, tmp_path: Path, recipe: str, make: object, task: str, gallery: int
) -> None:
    make(tmp_path / "set")  # type: ignore[operator]  # one of two functions
    folder = run(
        "train", f"experiment={recipe}", f"data.root={tmp_path / 'set'}", *SMALL, small=False
    )
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert lines(folder)[-1]["train/rows_without_pair"] < 1.0
    again = run("evaluate", f"run={folder}", f"protocol={recipe}", folder="judged", small=False)
    held = json.loads((again / "metrics.json").read_text())
    result = held["metrics"][f"test/{recipe}/query-to-gallery/hit@10"]
    assert result["value"] == 1.0  # the gallery has fewer than ten photos
    assert result["n"] == gallery
    assert 0.0 <= held["metrics"][f"test/{recipe}/query-to-gallery/hit@1"]["value"] <= 1.0
    config, _ = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert list(config["task"]) == [task]
