"""Photos that look alike."""

import numpy as np
import pytest
import torch

from fashret.reports.viewer import NearDuplicates


def test_photos_of_other_products_that_look_alike_are_suspected() -> None:
    image = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0.0], [1.0, 0.01], [1.0, 0.02], [0.0, 1.0], [0.1, 1.0]]), dim=1
    )
    found = NearDuplicates.find(image, np.array([7, 7, 8, -1, -1]), 0.99)
    assert found.pairs.tolist() == [[1, 2], [0, 2], [3, 4]]  # 0 and 1 are one product
    cosines = (image @ image.T)[found.pairs[:, 0], found.pairs[:, 1]]
    assert found.cosines == pytest.approx(cosines.numpy(), abs=1e-6)
