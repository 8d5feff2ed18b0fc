"""Items at given angles, and their catalog."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from fashret.loading.samplers import ShuffledSampler
from fashret.miners import HardMiner
from fashret.types import TrainingItems

# Ten items in the plane, a few degrees apart. Training rows are 1 to 8; 0 and 9 are of other
# splits.
ANGLES = [0.5, 0.0, 1.0, 3.0, 7.0, 10.0, 15.0, 21.0, 28.0, 0.2]
KIND = [0, 0, 0, 0, 0, 1, 1, 1, 1, 0]
NECKLINE = [1, 0, 1, 1, 1, 0, 1, 0, -1, 1]
MATERIAL = [0, 0, 0, 1, 0, 0, 0, 1, 1, 1]
PRODUCT = [8, 0, 0, 1, 2, 3, 4, 5, 6, 9]


def items() -> TrainingItems:
    described = {
        "category": (torch.tensor(KIND), ["tees", "skirts"]),
        "neckline": (torch.tensor(NECKLINE), ["round", "square"]),
        "material": (torch.tensor(MATERIAL), ["cotton", "denim"]),
    }
    return TrainingItems(
        torch.arange(1, 9),
        torch.tensor(PRODUCT),
        torch.arange(10),
        described,
        [f"item{i}" for i in range(10)],
        {"medium": ["material"], "weak": ["neckline"]},
    )


def catalog() -> Any:
    angles = torch.tensor(ANGLES).deg2rad()
    image = torch.stack([angles.cos(), angles.sin()], dim=1)
    return SimpleNamespace(image=image.half(), text=image)


def partners(miner: HardMiner) -> list[set[int]]:
    """The partners of each row of the table, as they come into batches."""
    batches: Any = miner.compose(ShuffledSampler(np.arange(1, 9), batch_size=4, seed=0), seed=0)
    return [set(row.tolist()) - {-1} for row in batches.partners]
