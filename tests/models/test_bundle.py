"""Exported models: as open_clip reads them, and without code."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image

from fashret.errors import CheckpointError, ConfigError
from fashret.models.backbone import load_backbone
from fashret.models.bundle import write_bundle
from fashret.models.retriever import Retriever
from support.architectures import FAMILIES, spec
from support.towers import NO_IMAGE_PROJECTION

pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bundle_is_the_trained_model_as_open_clip_reads_it(family: str, tmp_path: Path) -> None:
    model = spec(f"stand-in-{family}")
    retriever = Retriever.from_backbone(load_backbone(model, tmp_path)).eval()
    generator = torch.Generator().manual_seed(0)
    heads = [retriever.text_head]
    heads += [] if family in NO_IMAGE_PROJECTION else [retriever.image_head]
    with torch.no_grad():
        for head in heads:  # as if they had learned
            head.weight.add_(0.1 * torch.randn(head.weight.shape, generator=generator))
    assert retriever.backbone is not None
    shape = tuple(retriever.backbone.photo_transform()(Image.new("RGB", (9, 9))).shape)
    images = torch.randn(3, *shape, generator=generator)
    tokens = retriever.backbone.tokenize(["a red dress", "blue", "a very long green coat"])
    with torch.inference_mode():
        image = retriever.embed_image(retriever.backbone.encode_image(images))
        text = retriever.embed_text(retriever.backbone.encode_text(tokens), torch.ones(3).bool())
    folder = tmp_path / "bundle"
    write_bundle(retriever, model, folder, half=False, log_scale=torch.tensor(3.25))
    whole, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    whole.eval()
    with torch.inference_mode():
        assert torch.allclose(whole.encode_image(images, normalize=True), image, atol=1e-5)
        assert torch.allclose(whole.encode_text(tokens, normalize=True), text, atol=1e-5)
    assert float(whole.logit_scale) == 3.25
    backbone = load_backbone(spec(f"local-dir:{folder}"), tmp_path)
    photo = Image.new("RGB", (30, 90), "red")
    assert torch.equal(transform(photo), backbone.photo_transform()(photo))


def test_a_head_without_a_place_in_the_model_is_not_exported(tmp_path: Path) -> None:
    model = spec("stand-in-sigmoid")
    retriever = Retriever.from_backbone(load_backbone(model, tmp_path))
    retriever.image_head.weight.data += 0.1
    with pytest.raises(ConfigError, match="image tower ends without a linear projection"):
        write_bundle(retriever, model, tmp_path / "bundle", half=True)
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_whose_tokenizer_is_code_does_not_run_it(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    marker, bundle = tmp_path / "executed", tmp_path / "bundle"
    write_bundle(
        Retriever.from_backbone(load_backbone(spec("stand-in-vit"), tmp_path)),
        spec("stand-in-vit"),
        bundle,
        half=True,
    )
    path = bundle / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"] |= {
        "hf_tokenizer_name": "any",
        "tokenizer_kwargs": {"trust_remote_code": True},
    }
    path.write_text(json.dumps(config))
    (bundle / "config.json").write_text("{}")
    (bundle / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["evil.Evil", None]}})
    )
    (bundle / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass\n")
    with pytest.raises(CheckpointError, match=r"bundle cannot be loaded .*contains custom code"):
        load_backbone(spec(f"local-dir:{bundle}"), tmp_path)
    assert not marker.exists()


def test_a_bundle_with_a_vocabulary_of_its_own_uses_it(tmp_path: Path) -> None:
    model = spec("fashret-tiny")
    backbone = load_backbone(model, tmp_path)
    texts = ["Striped Polo T-shirt, naïve & größer", "zyxwv"]
    tokens = backbone.tokenize(texts)
    assert int(tokens.max()) == backbone.clip.text.vocab_size - 1  # the end of a text
    for text, row in zip(texts, tokens, strict=True):
        said = backbone.tokenizer.decode(row[1 : int(row.argmax())].tolist())
        assert said.replace(" ", "") == text.lower().replace(" ", "")
    write_bundle(Retriever.from_backbone(backbone), model, tmp_path / "bundle", half=True)
    again = load_backbone(spec(f"local-dir:{tmp_path / 'bundle'}"), tmp_path)
    assert torch.equal(again.tokenize(texts), tokens)
    assert (tmp_path / "bundle" / "open_clip_model.safetensors").stat().st_size < 12e6
