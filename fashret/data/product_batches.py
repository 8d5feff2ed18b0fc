"""The composition of batches of several photos per product: `data.batch`."""

from dataclasses import dataclass

from fashret.errors import ConfigError

EVERY = ("product", "photo")


@dataclass(frozen=True, kw_only=True)
class ProductBatches:
    """Batches of P products with K photos each, for tasks that compare photos of products.

    Args:
        photos: photos K of each product in a batch, at least 2; fewer if no product has so many. A
            product with fewer than others gives the same photos again.
        products: products P in a batch and process, at least 2; null for as many as
            `data.batch_size` holds.
        every: what an epoch contains equally often: `product` (each product once), or `photo`
            (each photo about once, so that products with many photos come more often).
        single_photos: share of a batch, 0 to below 1, that is filled with photos of products that
            have only one, which are negatives of all others.

    Raises:
        ConfigError: a value is out of its range.
    """

    photos: int = 4
    products: int | None = None
    every: str = "product"
    single_photos: float = 0.0

    def __post_init__(self) -> None:
        if self.photos < 2 or (self.products is not None and self.products < 2):
            raise ConfigError(
                f"data.batch: photos={self.photos} and products={self.products} must be at least 2"
            )
        if self.every not in EVERY:
            raise ConfigError(f"data.batch.every={self.every}: it must be {' or '.join(EVERY)}")
        if not 0.0 <= self.single_photos < 1.0:
            raise ConfigError(
                f"data.batch.single_photos={self.single_photos}: it must be at least 0 and below 1"
            )

    def sizes(self, batch_size: int, most_photos: int) -> tuple[int, int, int]:
        """Return the number of products, of photos of each, and of single photos in a batch.

        Args:
            batch_size: number of rows in a batch.
            most_photos: the largest number of photos that a product has, at least 2.

        Raises:
            ConfigError: the batch has no room for two products.
        """
        photos, singles = min(self.photos, most_photos), int(self.single_photos * batch_size)
        if self.products is not None:
            return self.products, photos, singles
        products = (batch_size - singles) // photos
        if products < 2:
            raise ConfigError(
                f"data.batch_size={batch_size} has room for {products} products with {photos} "
                f"photos each (data.batch.photos): use at least {2 * photos + singles}"
            )
        return products, photos, singles
