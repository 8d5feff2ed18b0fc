"""The recipes of published protocols, on small copies: train, then the official protocol."""

import json
from pathlib import Path

import pytest
import torch

from fashret.models.checkpoint import read_checkpoint
from fashret.models.composer import plain_mean
from support.commands import Run, lines, system_of
from support.official_sets import inshop, listed, write
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


def fashioniq(root: Path) -> None:
    """Eight dresses of each split; each asks for the next one."""
    for split in ("train", "val"):
        names = [f"{split}{i}" for i in range(8)]
        write(root / "image_splits" / f"split.dress.{split}.json", json.dumps(names))
        for i, name in enumerate(names):
            photo(root / "images" / f"{name}.jpg", 10 * i + (split == "val"))
        said = [
            {"candidate": one, "target": other, "captions": [f"is {i}", "is longer"]}
            for i, (one, other) in enumerate(zip(names, [*names[1:], names[0]], strict=True))
        ]
        write(root / "captions" / f"cap.dress.{split}.json", json.dumps(said))


def test_the_recipe_of_fashioniq_trains_and_its_protocol_evaluates_the_run(
    run: Run, tmp_path: Path
) -> None:
    fashioniq(tmp_path / "set")
    given = ("experiment=fashioniq", f"data.root={tmp_path / 'set'}", *SMALL)
    folder = run("train", *given, small=False)
    config, state = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert config["model"]["composer"] == "gated"
    assert "retriever.composer.gate.weight" in state
    again = run("evaluate", f"run={folder}", "protocol=fashioniq", folder="judged", small=False)
    found = json.loads((again / "metrics.json").read_text())["metrics"]
    hits = found["val/fashioniq/dress (split gallery)/hit@10"]
    assert (hits["value"], hits["n"]) == (1.0, 8)  # of eight photos
    cache = f"paths.cache_dir={run.cache_dir}"
    system = system_of("evaluate", [f"run={folder}", cache, "paths.output_dir=none"])
    photos = torch.nn.functional.normalize(torch.randn(3, system.towers.dim), dim=1)
    composed = system.compose(photos, photos.flip(0))
    assert not torch.allclose(composed, plain_mean(photos, photos.flip(0)), atol=1e-3)
    # The run's own composer makes the queries: other weights find other photos.
    half = run(
        "evaluate", f"run={folder}", "protocol=fashioniq", "protocol.weight_image=1.0",
        "protocol.k=[1]", folder="photo", small=False,
    )  # fmt: skip
    own = json.loads((half / "metrics.json").read_text())["metrics"]
    # A photo alone finds itself first, which is never the target.
    assert own["val/fashioniq/dress (split gallery)/hit@1"]["value"] == 0.0


def test_the_recipe_of_graded_queries_trains_and_its_protocol_evaluates_the_run(
    run: Run, tmp_path: Path
) -> None:
    products, log = ["item_id,image,text,split"], ["query,item_id,weight,split"]
    for i in range(24):
        split = "train" if i < 16 else "validation" if i < 20 else "test"
        photo(tmp_path / "photos" / f"{i}.jpg", 7 * i)
        products.append(f"p{i},{i}.jpg,dress number {i},{split}")
        log += [f"dress {i},p{i},{100 - i},{split}", f"dress {i},p{i - i % 4},10,{split}"]
    write(tmp_path / "products.csv", *products)
    write(tmp_path / "log.csv", *log)
    folder = run(
        "train", "experiment=marqo_gcl", f"data.root={tmp_path / 'photos'}",
        f"data.table={tmp_path / 'products.csv'}", f"data.judgments={tmp_path / 'log.csv'}",
        *SMALL, small=False,
    )  # fmt: skip
    assert "val/text/judged/ndcg@10" in lines(folder)[-1]
    again = run(
        "evaluate", f"run={folder}", "protocol=search_log", "protocol.split=all",
        f"protocol.judgments={tmp_path / 'log.csv'}", "protocol.weight_image=0.9",
        folder="judged", small=False,
    )  # fmt: skip
    found = json.loads((again / "metrics.json").read_text())["metrics"]
    assert found["all/search_log/judged/ndcg@10"]["n"] == 4  # over 24 products
    assert found["all/search_log/judged unseen products/recall@10"]["value"] == 1.0  # over four
