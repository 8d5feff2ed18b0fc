"""How often training items come, by their values."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fashret.errors import ConfigError
from fashret.names import listed
from fashret.types import UNKNOWN

Described = Mapping[str, tuple[NDArray[np.int64], list[str]]]
"""Codes (N,) and values of the category and of each attribute."""

KNOWN = "known"
"""Stands for every value but unknown."""


@dataclass(frozen=True, kw_only=True)
class Balance:
    """How often items come, by their values.

    Args:
        boosts: factors by attribute and value (`category` may be an attribute, `known` stands for
            every known value); an item's are multiplied.
        most: the largest share of a batch that one known value of these attributes may have.
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

    def weights(self, described: Described) -> NDArray[np.float64]:
        """The factor of each item of a table, (N,).

        Raises:
            ConfigError: an attribute or a value is none of the table's.
        """
        total = np.ones(len(next(iter(described.values()))[0]))
        for name, values in self.boosts.items():
            if name not in described:
                raise ConfigError(
                    f"data.balance.boosts names {name}; the data has {listed(name, described)}"
                )
            codes, known = described[name]
            for value, factor in values.items():
                if value == KNOWN:
                    total[codes != UNKNOWN] *= factor
                elif value in known:
                    total[codes == known.index(value)] *= factor
                else:
                    raise ConfigError(
                        f"data.balance.boosts.{name} names {value}; the data has "
                        f"{listed(value, known)}"
                    )
        return total
