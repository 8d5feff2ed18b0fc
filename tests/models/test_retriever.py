"""Towers that learn: less memory for the same gradient."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fashret.errors import ConfigError
from fashret.models.retriever import Retriever
from support.towers import batch_of, gradients, towers

pytestmark = pytest.mark.usefixtures("stand_ins")


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    assert len(left) > 10
    for name, value in left.items():
        assert torch.allclose(value, right[name], atol=1e-5), name


@pytest.mark.parametrize("family", ["vit", "sigmoid", "convnext", "coca"])
def test_chunks_give_the_gradient_of_the_whole_batch(family: str, tmp_path: Path) -> None:
    whole = gradients(towers(family, tmp_path))
    same(gradients(towers(family, tmp_path, chunk=3)), whole)  # 3 + 3 + 3 + 1
    same(gradients(towers(family, tmp_path, chunk=64)), whole)


def test_chunks_hold_fewer_activations(tmp_path: Path) -> None:
    """What autograd keeps between forward and backward: with chunks of 2, the inputs."""

    def kept(retriever: Retriever) -> int:
        assert retriever.backbone is not None
        seen: dict[int, int] = {}

        def pack(value: Tensor) -> Tensor:
            seen[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            retriever.features(batch_of(retriever.backbone))
        return sum(seen.values())

    assert kept(towers("vit", tmp_path, chunk=2)) < kept(towers("vit", tmp_path)) / 5


def test_chunks_of_a_batch_that_is_normalised_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"model.chunk=4: batch normalisation depends on the whole"
    ):
        towers("resnet", tmp_path, chunk=4)
    towers("resnet", tmp_path, chunk=4, train="lora")  # whose norms are frozen


@pytest.mark.parametrize("family", ["vit", "convnext", "coca"])
def test_checkpointed_activations_give_the_same_gradient(family: str, tmp_path: Path) -> None:
    same(
        gradients(towers(family, tmp_path, checkpointing=True)), gradients(towers(family, tmp_path))
    )


def test_a_tower_that_cannot_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trained batch normalisation would count every"):
        towers("resnet", tmp_path, checkpointing=True)
    with pytest.raises(ConfigError, match=r"model.checkpointing=true: the image tower \(ModifiedR"):
        towers("resnet", tmp_path, checkpointing=True, train="lora")
