"""What the tests of whole runs share."""

from pathlib import Path

import open_clip
import pytest
import torch

from fashret.models.spec import SHIPPED_BUNDLES


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the tiny architecture, as a user's own file."""
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    with torch.random.fork_rng():
        torch.manual_seed(11)
        clip = open_clip.create_model(
            f"local-dir:{SHIPPED_BUNDLES['fashret-tiny']}", load_weights=False
        )
        torch.save(clip.state_dict(), path)
    return path
