"""An image tower alone: photos are trained and evaluated, and nothing is said of texts."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import fashret
from fashret.errors import ConfigError, FashretError
from fashret.models.backbone import check_name, load_backbone
from fashret.models.checkpoint import is_text_weight, read_checkpoint
from fashret.models.retriever import Retriever
from fashret.models.spec import ModelSpec
from support.commands import Run, lines, metrics

TOWER = ("model=timm", "model.name=timm:test_vit", "model.pretrained=null")


def spec(name: str = "timm:test_vit", pretrained: str | None = None) -> ModelSpec:
    return ModelSpec(name=name, pretrained=pretrained)


def test_features_are_those_of_timm(tmp_path: Path) -> None:
    backbone = load_backbone(spec(), tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bare = timm.create_model("test_vit", num_classes=0)
    photos = torch.randn(3, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = bare.eval()(photos)
        assert torch.equal(backbone.eval().encode_image(photos), expected)
        retriever = Retriever.from_backbone(backbone)
        embedded = retriever.embed_image(expected)
    assert torch.allclose(embedded, torch.nn.functional.normalize(expected, dim=1), atol=1e-6)
    assert retriever.dim == expected.shape[1]
    assert backbone.preprocess.mean == (0.5, 0.5, 0.5)  # of this encoder
    with pytest.raises(ConfigError, match="the model has no text tower"):
        retriever.encode_text(["red"])


@pytest.mark.parametrize(
    ("name", "pretrained", "fault"),
    [
        ("timm:test_vitt", None, r"timm has no such encoder; similar names: .*test_vit"),
        ("timm:nothing_like_it", None, "timm has no such encoder"),
        ("timm:test_vit", "openai", r"pretrained=openai: weights of an encoder of timm are 'timm'"),
    ],
)
def test_a_wrong_name_is_refused(name: str, pretrained: str | None, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        check_name(spec(name, pretrained))


@pytest.mark.parametrize("train", ["all", "blocks", "heads model.attribute_blocks={category:8}"])
def test_photos_are_trained_and_texts_left_out(run: Run, train: str) -> None:
    given = ("task=product", *TOWER, *f"model.train={train}".split(), "trainer.max_epochs=1")
    folder = run("train", *given)
    state = read_checkpoint(folder / "checkpoints" / "last.ckpt")[1]
    learned = [n.removeprefix("retriever.") for n in state if n.startswith("retriever.")]
    assert learned
    assert not any(map(is_text_weight, learned))
    assert not [key for key in lines(folder)[-1] if key.startswith(("val/text", "val/fused"))]
    found = metrics(folder)
    assert found["test/image/product/hit@10"]["n"] > 0
    assert not [key for key in found if key.split("/")[1] != "image"]
    again = run("evaluate", f"run={folder}", "gallery=true", folder="again")
    assert metrics(again)["test/image/product/hit@10"] == found["test/image/product/hit@10"]
    assert (again / "gallery.html").is_file()


def test_what_needs_texts_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task=caption needs texts: use task=product, street or"):
        run("train", *TOWER)
    with pytest.raises(ConfigError, match="the model has no text tower"):
        run("evaluate", *TOWER, "protocol=keyword")
    with pytest.raises(FashretError, match="the model has no text tower"):
        run("evaluate", *TOWER, "queries=[red dress]")
    with pytest.raises(ConfigError, match="has no text tower, so that it is no open_clip model"):
        run("export", *TOWER, f"out={tmp_path / 'out'}", small=False)


@pytest.mark.run
def test_a_run_is_loaded_and_searched_by_photo(run: Run) -> None:
    folder = run("train", "task=product", *TOWER, "trainer.max_epochs=1")
    model = fashret.load(folder, device="cpu")
    photo = np.zeros((60, 60, 3), dtype=np.uint8)
    assert model.encode_image(photo).shape == (1, model.dim)
    hits = fashret.search(str(folder), image=photo, k=3)
    assert len(hits.hits) == 3
    with pytest.raises(ConfigError, match="no text tower"):
        fashret.search(str(folder), text="a dress")
