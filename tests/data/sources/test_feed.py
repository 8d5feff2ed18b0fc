"""A feed from its file to the items, and to a scoreboard by one command."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fashret.data.downloads import Fetch
from fashret.data.items import ItemTable
from fashret.data.preparation import prepare
from fashret.data.sources import Feed
from fashret.errors import ConfigError, DataError
from support.commands import Run, metrics
from support.photo_server import PhotoServer, photo_server
from support.sources import photo, rows

SHARES = {"train": 0.5, "validation": 0.25, "test": 0.25}


@pytest.fixture
def server() -> Iterator[PhotoServer]:
    with photo_server() as made:
        yield made


def shopify(count: int, url: str, first: int = 0) -> str:
    """An export of `count` products of two colours, with two photos of one and one of the other."""
    lines = ["Handle,Title,Body (HTML),Type,Option1 Name,Option1 Value,Option2 Name,Option2 Value,"
             "Variant SKU,Image Src,Image Position,Variant Image,Status"]  # fmt: skip
    for n in range(first, first + count):
        kind, photos = ["Dresses", "Tees"][n % 2], [f"{url}{3 * n + m}.png" for m in range(3)]
        body = f'"<p>Number {n}, v-neck</p><p>Wash cold.</p>"'
        lines += [
            f"h{n},Cotton {kind[:-1]} {n},{body},{kind},Color,Red,Size,S,R{n}-S,{photos[0]},1,,"
            "active",
            f"h{n},,,,,Red,,M,R{n}-M,{photos[1]},2,,",
            f"h{n},,,,,Blue,,S,B{n}-S,{photos[2]},3,{photos[2]},",
        ]
    return "\n".join(lines)


def prepared(feed: Feed, cache: Path) -> ItemTable:
    table = prepare(feed, cache)
    report = table.report
    assert report["rows_in"] == len(table) + sum(report["dropped"].values())
    return table


def test_a_shopify_export_with_photos_that_are_files(tmp_path: Path) -> None:
    for n in range(12):
        photo(tmp_path / f"{n}.png", seed=n)
    (tmp_path / "export.csv").write_text(shopify(4, ""))
    feed = Feed(table=str(tmp_path / "export.csv"), text=["title", "description"], splits=SHARES)
    found = rows(prepared(feed, tmp_path / "cache"))
    assert found.keys() == {
        f"{name}{n}{tail}" for n in range(4) for name, tail in (("h", ""), ("h", "#2"), ("B", "-S"))
    }
    one, blue = found["h1#2"], found["B1-S"]
    assert one["text"] == "Cotton Tee 1. Number 1, v-neck. Wash cold."
    assert (one["category"], one["product_id"], one["neckline"]) == ("Tees", "h1", "v_neck")
    assert (one["colour"], blue["colour"]) == ("unknown", "blue")
    assert (one["material"], blue["product_id"]) == ("cotton", "h1")
    assert {found[f"h{n}"]["split"] for n in range(4)} == {"train", "validation", "test"}
    assert all(found[f"h{n}"]["split"] == found[f"B{n}-S"]["split"] for n in range(4))


def test_photos_by_url_that_are_not_there_are_counted(server: PhotoServer, tmp_path: Path) -> None:
    text = shopify(6, server.url("")).replace(server.url("5.png"), server.url("gone.jpg"))
    (tmp_path / "export.csv").write_text(text)
    feed = Feed(
        table=str(tmp_path / "export.csv"), photos=str(tmp_path / "photos"), splits=SHARES,
        fetch=Fetch(private=True),
    )  # fmt: skip
    table = prepared(feed, tmp_path / "cache")
    assert len(table) == 17
    assert table.report["dropped"] == {"photo not fetched: status 404": 1}
    again = Feed(
        table=feed.table, photos=feed.photos, splits=SHARES, fetch=Fetch(private=True)
    )  # fmt: skip
    before = server.asked.copy()
    assert prepare(again, tmp_path / "cache").key == table.key
    assert server.asked == before


def test_a_table_of_ones_own_with_splits_and_several_photos_in_a_cell(tmp_path: Path) -> None:
    for n in range(9):
        photo(tmp_path / "img" / f"{n}.png", seed=n)
    (tmp_path / "items.csv").write_text(
        "image;name;split;Colour\n"
        '"img\\0.png|img/1.png";"<b>Red</b> &amp; blue tee";train;Red\n'
        "img/2.png;Dress;val;\nimg/3.png;Dress;test;\nimg/4.png;Dress;extra;\n"
    )
    feed = Feed(
        table=str(tmp_path / "items.csv"), columns={"text": "name"}, split_names={"extra": None}
    )
    found = rows(prepared(feed, tmp_path / "cache"))
    assert {name: (row["split"], row["text"]) for name, row in found.items()} == {
        "img\\0.png": ("train", "Red & blue tee"), "img\\0.png#2": ("train", "Red & blue tee"),
        "img/2.png": ("validation", "Dress"), "img/3.png": ("test", "Dress"),
    }  # fmt: skip
    assert found["img\\0.png"]["product_id"] == found["img\\0.png#2"]["product_id"]
    assert found["img\\0.png"]["colour"] == "red"


def test_rows_of_a_table_stay_items_of_their_own(tmp_path: Path) -> None:
    for n in range(8):
        photo(tmp_path / f"{n}.png", seed=n)
    lines = [f"i{n},{n}.png,p{n // 4},Text {n},{role}" for n, role in
             enumerate(["query", "gallery"] * 3)]  # fmt: skip
    lines += ["i6,6.png,N/A,Text 6,gallery", "i7,7.png,N/A,Text 7,gallery"]
    (tmp_path / "t.csv").write_text(
        "\n".join(["item_id,image,product_id,text,split", *lines, "i8,9.png,p,x,train"])
    )
    found = rows(prepared(Feed(table=str(tmp_path / "t.csv"), groups=None), tmp_path / "cache"))
    assert {name: (row["text"], row["role"], row["product_id"]) for name, row in found.items()} == {
        f"i{n}": (f"Text {n}", ["query", "gallery"][n % 2] if n < 6 else "gallery",
                  f"p{n // 4}" if n < 6 else None)
        for n in range(8)
    }  # fmt: skip


def test_an_opened_quotation_mark_swallows_no_row(tmp_path: Path) -> None:
    lines = [f"x{n},Tee {n},{n}.jpg" for n in range(9)]
    lines[3], lines[6] = 'x3,"open,3.jpg', 'x6,close",6.jpg'
    for n in range(9):
        photo(tmp_path / f"{n}.jpg", seed=n)
    (tmp_path / "f.csv").write_text("\n".join(["id,title,image link", *lines]))
    found = rows(prepared(Feed(table=str(tmp_path / "f.csv"), splits=SHARES), tmp_path / "cache"))
    assert [found[f"x{n}"]["text"] for n in (3, 4, 6)] == ['"open', "Tee 4", 'close"']


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    cases = {
        "": r"is empty",
        "photo,title\na.jpg,b\n": r"is no feed that is known by its columns",
        "Handle,Image Src,Status\nx,a.jpg,draft\n": r"offers nothing: .* dropped 1: not sold",
        "id,image_link\n1,http://127.0.0.1:9/a.jpg\n": r"none of its 1 photos could be fetched; "
        r".*private address",
    }
    for text, message in cases.items():
        path.write_text(text)
        feed = Feed(table=str(path), photos=str(tmp_path / "photos"), fetch=Fetch(tries=1))
        with pytest.raises(DataError, match=message):
            prepare(feed, tmp_path / "cache")
    with pytest.raises(DataError, match=r"data.table=.*none.csv: file not found"):
        prepare(Feed(table=str(tmp_path / "none.csv")), tmp_path / "cache")
    with pytest.raises(ConfigError, match=r"data.kind=shop: must be null, shopify"):
        Feed(table="x.csv", kind="shop")
    with pytest.raises(ConfigError, match=r"data.text=\['name'\]: parts are title, description"):
        Feed(table="x.csv", text=["name"])


def test_a_photo_outside_the_folder_is_not_read(tmp_path: Path) -> None:
    photo(tmp_path / "secret.png", seed=1)
    shop = tmp_path / "shop"
    lines = [f"{n},{photo(shop / f'{n}.png', seed=n).name}" for n in range(8)]
    (shop / "feed.csv").write_text("\n".join(["id,image_link", *lines, "x,../secret.png"]))
    table = prepared(Feed(table=str(shop / "feed.csv"), splits=SHARES), tmp_path / "cache")
    assert len(table) == 8
    assert table.report["dropped"] == {"image outside data.root": 1}


@pytest.mark.run
def test_feeds_go_from_file_to_scoreboard_by_one_command(
    run: Run, server: PhotoServer, tmp_path: Path
) -> None:
    (tmp_path / "export.csv").write_text(shopify(40, server.url("")))
    items = "".join(
        f"<item><g:id>{n}</g:id><g:title>Red {['dress', 'tee'][n % 2]} {n}</g:title>"
        f"<g:item_group_id>g{n // 2}</g:item_group_id><g:color>{['red', 'blue'][n // 2 % 2]}"
        f"</g:color><g:size>S</g:size><g:product_type>A &gt; {['Dress', 'Tee'][n % 4 // 2]}"
        f"</g:product_type><g:image_link>{server.url(f'{200 + n}.png')}</g:image_link></item>"
        for n in range(80)
    )
    (tmp_path / "feed.xml").write_text(
        f'<rss xmlns:g="http://base.google.com/ns/1.0"><channel>{items}</channel></rss>'
    )
    lines = [
        f"{n},{server.url(f'{300 + n}.png')};{server.url(f'{400 + n}.png')},A tee {n},Tees"
        for n in range(60)
    ]
    (tmp_path / "urls.csv").write_text("\n".join(["sku,photo_urls,text,category", *lines]))
    small = ("trainer.max_epochs=1", "data.batch_size=16", "data.num_workers=0", "targets=none",
             "retrieval.resamples=100", "data.fetch.private=true")  # fmt: skip
    columns = ("data.columns.image=photo_urls", "data.columns.item_id=sku")
    for name, photos, more in (
        ("export.csv", 120, ()), ("feed.xml", 80, ()), ("urls.csv", 120, columns),
    ):  # fmt: skip
        folder = run(
            "train",
            "data=feed",
            f"data.table={tmp_path / name}",
            *small,
            *more,
            folder=f"run-{name}",
            small=False,
        )
        board = json.loads((folder / "scoreboard.json").read_text())
        assert board["watched"]
        assert metrics(folder)["test/image/product/hit@10"]["n"] > 0
        assert photos <= len(list((run.cache_dir / "photos").rglob("*")))
