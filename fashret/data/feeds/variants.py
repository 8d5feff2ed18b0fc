"""Offers that are one item for a photo search: sizes of one colour, and what all of them say."""

from collections import Counter, defaultdict
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
        One offer for each product and its values of `variant`, with the photos of all. A photo
        belongs to the variant whose main photo it is, else to the first offer that has it. What an
        offer does not say, the first of its product says for it.
    """
    products: defaultdict[str, list[Offer]] = defaultdict(list)
    for offer in offers:
        products[offer.product_id].append(offer)
    found: list[Offer] = []
    for product in products.values():
        found += _variants(product, variant, report)
    return found


def _variants(offers: Sequence[Offer], variant: Sequence[str], report: Report) -> list[Offer]:
    """Merge the offers of one product."""
    keys = [tuple(o.values.get(name, "").casefold() for name in variant) for o in offers]
    owner: dict[str, tuple[str, ...]] = {}
    for offer, key in zip(offers, keys, strict=True):
        if any(key) and offer.photos:
            owner.setdefault(offer.photos[0], key)
    for offer, key in zip(offers, keys, strict=True):
        for photo in offer.photos:
            owner.setdefault(photo, key)
    found: dict[tuple[str, ...], Offer] = {}
    for offer, key in zip(offers, keys, strict=True):
        photos = [photo for photo in offer.photos if owner[photo] == key]
        if key not in found:
            said = offers[0]
            found[key] = replace(
                offer,
                photos=list(dict.fromkeys(photos)),
                title=offer.title or said.title,
                description=offer.description or said.description,
                category=offer.category or said.category,
                values=dict(offer.values),
            )
            continue
        first = found[key]
        new = [photo for photo in dict.fromkeys(photos) if photo not in first.photos]
        if not new:
            report.drop("another size of an item", f"{offer.where}: {offer.item_id}")
        first.photos += new
        first.values = {
            name: value
            for name, value in first.values.items()
            if offer.values.get(name, value).casefold() == value.casefold()
        }
    had = {key for offer, key in zip(offers, keys, strict=True) if offer.photos}
    for key in [key for key, offer in found.items() if not offer.photos and key in had]:
        gone = found.pop(key)
        report.drop("its photos show other variants", f"{gone.where}: {gone.item_id}")
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


def item_ids(offers: Sequence[Offer]) -> list[list[str]]:
    """Name the photos of each offer: its id, and `#2`, `#3` for further ones, each once.

    An id that several offers have, as SKUs may, stands behind the product's.
    """
    counts = Counter(offer.item_id for offer in offers)
    taken: set[str] = set()
    names = []
    for offer in offers:
        is_single = counts[offer.item_id] == 1
        names.append(offer.item_id if is_single else f"{offer.product_id}/{offer.item_id}")
    given = Counter(names)
    found = []
    for offer, name in zip(offers, names, strict=True):
        own: list[str] = []
        number = 1
        while len(own) < max(1, len(offer.photos)):
            candidate = name if number == 1 else f"{name}#{number}"
            number += 1
            # A name that another offer has by itself is not free, whichever comes first.
            if candidate in taken or (candidate in given and candidate != name):
                continue
            taken.add(candidate)
            own.append(candidate)
        found.append(own)
    return found
