"""No mining."""

from torch import Tensor

from fashret.catalog.store import Catalog
from fashret.types import Relations


class NoMiner:
    """Leaves every valid pair to the loss."""

    def prepare(self, catalog: Catalog) -> None:
        """Mine nothing."""

    def select(self, rows: Tensor, columns: Tensor, relations: Relations) -> Relations:
        """The relations as they are."""
        return relations
