"""Backbones: every family of towers that the model group names, in a small stand-in."""

import copy
import pickle
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from fashret.errors import CheckpointError, ConfigError
from fashret.models.backbone import Backbone, load_backbone
from fashret.models.bundle import write_bundle
from fashret.models.retriever import Retriever
from support.architectures import FAMILIES, spec
from support.towers import NO_IMAGE_PROJECTION

pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.mark.parametrize("family", FAMILIES)
def test_untrained_heads_give_the_models_own_embeddings(family: str, tmp_path: Path) -> None:
    backbone = load_backbone(spec(f"stand-in-{family}"), tmp_path)
    assert (backbone.image_projection is None) == (family in NO_IMAGE_PROJECTION)
    retriever = Retriever.from_backbone(backbone).eval()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        whole = open_clip.create_model(f"stand-in-{family}").eval()
    shape = tuple(backbone.photo_transform()(Image.new("RGB", (9, 9))).shape)
    images = torch.randn(9, *shape, generator=torch.Generator().manual_seed(0))
    tokens = backbone.tokenize([f"a red dress, number {i}" for i in range(9)])
    with torch.inference_mode():
        image = retriever.embed_image(backbone.encode_image(images))
        text = retriever.embed_text(backbone.encode_text(tokens), torch.ones(9, dtype=torch.bool))
        expected_image = normalize(whole.encode_image(images, normalize=False), dim=1)
        expected_text = normalize(whole.encode_text(tokens, normalize=False), dim=1)
    assert torch.allclose(image, expected_image, atol=1e-6)
    assert torch.allclose(text, expected_text, atol=1e-6)
    for ours, theirs in ((image, expected_image), (text, expected_text)):
        order = (ours @ image.T).argsort(dim=1, descending=True)
        falling = (theirs @ expected_image.T).gather(1, order)
        assert bool((falling.diff(dim=1) < 1e-6).all())  # the same ranking, ties apart


@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_and_a_pickled_model_keep_to_themselves(family: str, tmp_path: Path) -> None:
    """What a projection is put back into is a tower of the copy, not of the original."""
    original = load_backbone(spec(f"stand-in-{family}"), tmp_path)
    images = torch.randn(3, *original.photo_transform()(Image.new("RGB", (9, 9))).shape)
    with torch.inference_mode():
        expected = original.eval().encode_image(images)
    for copied in (copy.deepcopy(original), pickle.loads(pickle.dumps(original))):
        retriever = Retriever.from_backbone(copied).eval()
        with torch.inference_mode():
            assert torch.equal(copied.encode_image(images), expected)
            embedded = retriever.image_head(expected)
        whole = copied.fold(retriever.image_head, retriever.text_head)
        assert whole is copied.clip
        with torch.inference_mode():
            folded = whole.encode_image(images, normalize=False)
            assert torch.allclose(folded, embedded, atol=1e-5)
            assert torch.equal(original.encode_image(images), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_learns_is_what_was_asked_for(family: str, tmp_path: Path) -> None:
    retriever = Retriever.from_backbone(load_backbone(spec(f"stand-in-{family}"), tmp_path))
    retriever.set_training(spec("", train="heads"))
    heads = {name for name, p in retriever.named_parameters() if p.requires_grad}
    assert heads == {
        n for n, _ in retriever.named_parameters() if n.startswith(("image_head.", "text_head."))
    }
    assert set(retriever.learned_state()) == heads
    retriever.set_training(spec("", train="blocks"))
    blocks = {name for name, p in retriever.named_parameters() if p.requires_grad}
    retriever.set_training(spec("", train="all"))
    everything = {name for name, p in retriever.named_parameters() if p.requires_grad}
    assert heads < blocks
    # behind a tower that learns whole, a head that began as the identity stays it
    identity = {"image_head.weight"} if family in NO_IMAGE_PROJECTION else set()
    assert blocks - identity < everything
    assert not identity & everything
    retriever.set_training(spec("", train="heads", heads=False))
    assert not any(p.requires_grad for p in retriever.parameters())


def test_frozen_norms_keep_their_statistics(tmp_path: Path) -> None:
    retriever = Retriever.from_backbone(load_backbone(spec("stand-in-mobilenet"), tmp_path))
    retriever.set_training(spec("", train="heads"))
    retriever.train()
    backbone = retriever.backbone
    assert backbone is not None
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    backbone.encode_image(torch.randn(4, 3, 32, 32))
    after = backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_towers_that_learn_are_in_training_mode(tmp_path: Path) -> None:
    retriever = Retriever.from_backbone(load_backbone(spec("stand-in-resnet"), tmp_path))
    retriever.eval().requires_grad_(False)  # as encoding the baseline leaves them
    retriever.set_training(spec("", train="all"))
    retriever.train()
    norms = [m for m in retriever.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) > 4
    assert all(norm.training for norm in norms)


def test_a_local_file_of_weights_is_loaded_and_counts_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    source = open_clip.create_model("stand-in-vit")
    torch.save(source.state_dict(), path)
    local = spec("stand-in-vit", pretrained=str(path), train="heads")
    backbone = load_backbone(local, tmp_path)
    assert backbone.image_projection is not None
    assert torch.equal(backbone.image_projection.weight, source.visual.proj.T)
    identity = local.identity(tmp_path)
    copy = tmp_path / "copy.pt"
    copy.write_bytes(path.read_bytes())
    assert spec("stand-in-vit", pretrained=str(copy)).identity(tmp_path) == identity
    source.visual.proj.data += 1
    torch.save(source.state_dict(), path)
    assert local.identity(tmp_path)["weights"] != identity["weights"]
    assert spec("stand-in-vit", resize="squash").identity(tmp_path) != identity


def test_photos_keep_the_whole_garment_unless_cropping_is_asked_for(tmp_path: Path) -> None:
    tall = Image.new("RGB", (30, 90), "white")
    tall.paste((255, 0, 0), (0, 0, 30, 10))  # red at the top edge

    def shown(resize: str) -> torch.Tensor:
        backbone: Backbone = load_backbone(spec("stand-in-vit", resize=resize), tmp_path)
        return backbone.photo_transform()(tall)

    assert shown("longest").shape == (3, 32, 32)
    whole, cropped = shown("longest"), shown("shortest")
    assert float(whole[1, 0, 16]) < float(whole[1, 16, 16])  # the red top is there
    assert float(cropped[1, 0, 16]) == pytest.approx(float(cropped[1, 16, 16]), abs=0.05)


def test_names_and_weights_that_do_not_exist_are_answered(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such architecture; similar names: ViT-B-32"):
        load_backbone(spec("ViT-B-3"), tmp_path)
    with pytest.raises(ConfigError, match=r"neither a file nor a tag .*openai"):
        load_backbone(spec("ViT-B-32", pretrained="opanai"), tmp_path)
    with pytest.raises(CheckpointError, match=r"gone.pt: file not found"):
        spec("ViT-B-32", pretrained="gone.pt")
    with pytest.raises(ConfigError, match="must be one of heads, blocks, lora, all"):
        spec("ViT-B-32", train="head")
    torn = tmp_path / "torn.pt"
    torn.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"torn.pt cannot be loaded into 'stand-in-vit'"):
        load_backbone(spec("stand-in-vit", pretrained=str(torn)), tmp_path)


def test_without_a_network_a_tag_names_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("open_clip.factory.download_pretrained", refused)
    with pytest.raises(CheckpointError, match=r"Without a network .* model.pretrained=<file>"):
        load_backbone(spec("ViT-B-32-quickgelu", pretrained="openai"), tmp_path)


class _Evil:
    """Unpickled, it makes a file: what loads a pickle without care runs anything."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_a_pickle_in_place_of_weights_is_not_loaded(tmp_path: Path) -> None:
    marker, bundle = tmp_path / "executed", tmp_path / "bundle"
    write_bundle(
        Retriever.from_backbone(load_backbone(spec("stand-in-vit"), tmp_path)),
        spec("stand-in-vit"),
        bundle,
        half=True,
    )
    (bundle / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": _Evil(marker)}, tmp_path / "evil.pt")
    (bundle / "open_clip_pytorch_model.bin").write_bytes((tmp_path / "evil.pt").read_bytes())
    with pytest.raises(CheckpointError, match=r"evil.pt cannot be loaded into 'stand-in-vit'"):
        load_backbone(spec("stand-in-vit", pretrained=str(tmp_path / "evil.pt")), tmp_path)
    with pytest.raises(CheckpointError, match=r"bundle cannot be loaded"):
        load_backbone(spec(f"local-dir:{bundle}"), tmp_path)
    assert not marker.exists()
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert marker.exists()  # the file does what it says
