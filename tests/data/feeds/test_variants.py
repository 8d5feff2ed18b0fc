"""Sizes are one item, colours are several, and what every product says describes none."""

from fashret.data.feeds.offer import Offer
from fashret.data.feeds.variants import item_ids, merged, without_shared_lines
from fashret.data.preparation_report import Report


def offer(item: str, photos: list[str], **more: object) -> Offer:
    values = {name: str(more.pop(name)) for name in ("colour", "size") if name in more}
    product = str(more.pop("product", "p"))
    return Offer(product, item, photos, values=values, where=f"row {item}", **more)  # type: ignore[arg-type]


def test_offers_that_differ_in_size_alone_are_one() -> None:
    report = Report()
    found = merged(
        [
            offer("1", ["a", "b"], colour="Red", size="S", title="Tee", category="Tees"),
            offer("2", ["a"], colour="red", size="M"),
            offer("3", ["e", "a", "c"], colour="Blue", size="S"),
            offer("4", ["d", "b"], colour="Red", size="L"),
            offer("5", ["a"], product="q", colour="Red"),
        ],
        ["colour"],
        report,
    )
    assert [(o.item_id, o.photos) for o in found] == [
        ("1", ["a", "b", "d"]), ("3", ["e", "c"]), ("5", ["a"]),
    ]  # fmt: skip
    assert found[0].values == {"colour": "Red"}
    assert (found[1].title, found[1].category) == ("Tee", "Tees")  # its product's
    assert found[2].title == ""
    assert dict(report.dropped) == {"another size of an item": 1}
    alone = merged([offer("1", ["a"], size="S"), offer("2", ["b"], size="M")], ["size"], Report())
    assert [o.item_id for o in alone] == ["1", "2"]


def test_a_photo_belongs_to_the_variant_that_it_shows() -> None:
    report = Report()
    found = merged(
        [
            offer("all", ["front", "red", "blue"]),
            offer("R", ["red", "blue"], colour="Red"),
            offer("B", ["blue", "red"], colour="Blue"),
            offer("G", ["red"], colour="Green"),
        ],
        ["colour"],
        report,
    )
    assert [(o.item_id, o.photos) for o in found] == [
        ("all", ["front"]), ("R", ["red"]), ("B", ["blue"]),
    ]  # fmt: skip
    assert dict(report.dropped) == {"its photos show other variants": 1}


def test_every_photo_has_an_id_of_its_own() -> None:
    offers = [
        offer("A", ["a", "b"]), offer("A#2", ["c"]), offer("S", ["d", "e"], product="p"),
        offer("S", ["f"], product="q"), offer("S", ["g"], product="q"), offer("N", []),
    ]  # fmt: skip
    assert item_ids(offers) == [
        ["A", "A#3"], ["A#2"], ["p/S", "p/S#2"], ["q/S"], ["q/S#2"], ["N"],
    ]  # fmt: skip


def test_lines_that_many_products_share_describe_none() -> None:
    offers = [
        offer(str(n), [], product=str(n), description=["Wash cold.", f"Number {n // 9}."])
        for n in range(30)
    ]
    report = Report()
    found = without_shared_lines(offers, report)
    assert [list(o.description) for o in found] == [[f"Number {n // 9}."] for n in range(30)]
    assert report.notes == ["1 lines that many descriptions share are left out: 'Wash cold.'"]
    few = without_shared_lines(offers[:9], Report())
    assert few == offers[:9]
