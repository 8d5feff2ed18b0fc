"""Offers that are one item for a photo search: sizes of one colour, and what all of them say."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fashret.data.feeds.offer import Offer
from fashret.data.preparation_report import Report

_SHARED, _FEWEST = 0.3, 10
"""A line that this share of at least so many products have describes none of them."""


def merged(offers: Iterable[Offer], variant: Sequence[str], report: Report) -> list[Offer]:
    """Merge the offers of a product that do not differ in the values of `variant`.

    Args:
        offers: the offers, in the order of the feed.
        variant: names of the values that make offers of a product different items.
        report: counts the rows that were merged into another.

    Returns:
        One offer for each product and its values of `variant`, with the photos of all; a photo
        belongs to the first offer that has it. What an offer does not say, the first of its product
        says for it.
    """
    found: dict[tuple[str, ...], Offer] = {}
    seen: dict[tuple[str, str], None] = {}
    first_of: dict[str, Offer] = {}
    for offer in offers:
        said = first_of.setdefault(offer.product_id, offer)
        offer = replace(
            offer,
            title=offer.title or said.title,
            description=offer.description or said.description,
            category=offer.category or said.category,
            values=dict(offer.values),
        )
        key = (offer.product_id, *(offer.values.get(n, "").casefold() for n in variant))
        photos = [photo for photo in offer.photos if (offer.product_id, photo) not in seen]
        seen |= dict.fromkeys((offer.product_id, photo) for photo in photos)
        if key not in found:
            found[key] = replace(offer, photos=photos)
            continue
        first = found[key]
        first.photos += photos
        first.values = {
            name: value
            for name, value in first.values.items()
            if offer.values.get(name, value).casefold() == value.casefold()
        }
        if not photos:
            report.drop("another size of an item", f"{offer.where}: {offer.item_id}")
    return list(found.values())


def without_shared_lines(offers: Sequence[Offer], report: Report) -> list[Offer]:
    """Remove the lines of descriptions that many products share, such as how to wash and return."""
    of_product = {offer.product_id: offer.description for offer in offers}
    counts = Counter(line for lines in of_product.values() for line in set(lines))
    most = max(_FEWEST, _SHARED * len(of_product))
    shared = {line for line, count in counts.items() if count >= most}
    if shared:
        first = ", ".join(f"'{line[:60]}'" for line in sorted(shared)[:3])
        report.note(f"{len(shared)} lines that many descriptions share are left out: {first}")
    return [
        replace(offer, description=[line for line in offer.description if line not in shared])
        for offer in offers
    ]
