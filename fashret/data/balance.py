"""Sampling weights of training items by their attribute values: `data.balance`."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fashret.errors import ConfigError
from fashret.names import listed
from fashret.types import UNKNOWN

Labels = Mapping[str, tuple[NDArray[np.int64], list[str]]]
"""(N,) codes of all items, and the names of the values, by attribute (and for `category`)."""

KNOWN = "known"
"""Stands for every known value of an attribute in `boosts`."""


@dataclass(frozen=True, kw_only=True)
class Balance:
    """How often training items are drawn, by their attribute values.

    Args:
        boosts: sampling factors, above 0, by attribute and value (`category` may be an attribute,
            `known` stands for every known value); the factors of an item are multiplied.
        most: largest share of a batch that one known value of these attributes may have, above 0
            and at most 1.
    """

    boosts: Mapping[str, Mapping[str, float]]
    most: float

    def __post_init__(self) -> None:
        factors = [factor for values in self.boosts.values() for factor in values.values()]
        if not 0.0 < self.most <= 1.0 or any(factor <= 0.0 for factor in factors):
            raise ConfigError(
                f"data.balance: most={self.most} must be above 0 and at most 1, and every boost "
                "above 0"
            )

    def weights(self, labels: Labels) -> NDArray[np.float64]:
        """Compute the sampling weight of each item of a table.

        Args:
            labels: codes and value names of the category and of each attribute.

        Returns:
            (N,) float64, above 0.

        Raises:
            ConfigError: the table does not have an attribute or a value of `boosts`.
        """
        weights = np.ones(len(next(iter(labels.values()))[0]))
        for name, factors in self.boosts.items():
            if name not in labels:
                raise ConfigError(
                    f"data.balance.boosts names {name}; the data has {listed(name, labels)}"
                )
            codes, value_names = labels[name]
            for value, factor in factors.items():
                if value == KNOWN:
                    weights[codes != UNKNOWN] *= factor
                elif value in value_names:
                    weights[codes == value_names.index(value)] *= factor
                else:
                    raise ConfigError(
                        f"data.balance.boosts.{name} names {value}; the data has "
                        f"{listed(value, value_names)}"
                    )
        return weights
