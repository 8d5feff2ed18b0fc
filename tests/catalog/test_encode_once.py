"""A photo or a text is encoded once, whatever changes around it, and catalogs grow by ids."""

import json
import logging
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fashret.catalog.folder import open_catalog, read_manifest, verify
from fashret.errors import CatalogError
from fashret.models.backbone import Backbone
from support.commands import Run, metrics

pytestmark = pytest.mark.run

COLOURS = ("red", "green", "blue", "black", "white")


class Shop:
    """A folder of photos with a table, and the count of what was encoded since the last look."""

    def __init__(self, run: Run, encoded: dict[str, int]) -> None:
        self.run, self.encoded = run, encoded
        self.root = run.at("shop")
        self.root.mkdir()
        self.numbers: list[int] = []

    def add(self, numbers: range) -> None:
        """Add items with photos and texts of their own."""
        for number in numbers:
            rng = np.random.default_rng(number)
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            photo = Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST)
            photo.save(self.root / f"{number:04d}.png")
        self.numbers += numbers

    def write(self) -> None:
        """Write the table."""
        rows = ["item_id,image,text,category"]
        for number in self.numbers:
            colour = COLOURS[number % 5]
            rows.append(f"i{number},{number:04d}.png,{colour} shirt number {number},shirt")
        (self.root / "items.csv").write_text("\n".join(rows) + "\n")

    def catalog(self, *overrides: str, folder: str = "run") -> tuple[int, int]:
        """Build a catalog; returns how many photos and texts it encoded."""
        self.encoded.update(photos=0, texts=0)
        self.run(
            "build_catalog", "data=folder", f"data.root={self.root}", "data.table=items.csv",
            "data.num_workers=0", *overrides, small=False, folder=folder,
        )  # fmt: skip
        return self.encoded["photos"], self.encoded["texts"]


@pytest.fixture
def shop(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    run.cache_dir = tmp_path / "cache"
    encoded = {"photos": 0, "texts": 0}
    image, text = Backbone.encode_image, Backbone.encode_text

    def encode_image(self: Backbone, images: torch.Tensor) -> torch.Tensor:
        encoded["photos"] += len(images)
        return image(self, images)

    def encode_text(self: Backbone, tokens: torch.Tensor) -> torch.Tensor:
        encoded["texts"] += len(tokens)
        return text(self, tokens)

    monkeypatch.setattr(Backbone, "encode_image", encode_image)
    monkeypatch.setattr(Backbone, "encode_text", encode_text)
    shop = Shop(run, encoded)
    shop.add(range(150))
    shop.write()
    return shop


def test_only_what_is_new_is_encoded(shop: Shop) -> None:
    assert shop.catalog() == (150, 150)
    corrections = shop.run.at("corrections.csv")
    corrections.write_text("item_id,category\ni7,dress\n")
    assert shop.catalog(f"data.overrides={corrections}") == (0, 0)  # a label
    assert shop.catalog("data.split_seed=1") == (0, 0)
    assert shop.catalog("data.attributes=[colour]") == (0, 0)  # the schema
    shop.numbers.reverse()
    shop.write()
    assert shop.catalog() == (0, 0)  # the order of the rows
    shop.add(range(150, 250))
    shop.write()
    assert shop.catalog() == (100, 100)
    del shop.numbers[:50]
    shop.write()
    assert shop.catalog() == (0, 0)
    other = shop.run.at("other")
    shutil.copytree(shop.root, other)
    shop.root = other
    assert shop.catalog("data.name=another") == (0, 0)  # another data set with the same photos


def test_the_metrics_of_stored_features_are_those_of_encoded_ones(shop: Shop) -> None:
    """Another batch changes the last bits of a feature, and so a metric by a query or two."""
    evaluate = (
        "evaluate", "data=folder", f"data.root={shop.root}", "data.table=items.csv",
        "data.num_workers=0", "data.split_seed=1", "retrieval.resamples=100",
    )  # fmt: skip
    shop.run(*evaluate, folder="encoded", small=False)
    shop.run.cache_dir = shop.run.at("other_cache")
    shop.catalog()  # another split: other batches
    shop.encoded.update(photos=0, texts=0)
    shop.run(*evaluate, folder="stored", small=False)
    assert shop.encoded == {"photos": 0, "texts": 0}
    one, two = metrics(shop.run.at("encoded")), metrics(shop.run.at("stored"))
    assert one.keys() == two.keys()
    assert len(one) > 20
    for key, value in one.items():
        assert two[key]["n"] == value["n"]
        if value["n"]:
            assert abs(two[key]["value"] - value["value"]) <= 200 / value["n"] + 1e-9, key
    first, second = (
        open_catalog(Path(json.loads((shop.run.at(name) / "metrics.json").read_text())["catalog"]))
        for name in ("encoded", "stored")
    )
    assert torch.allclose(first.image, second.image, atol=1e-5)
    assert torch.allclose(first.text, second.text, atol=1e-5)


def test_a_catalog_folder_grows_by_item_ids(
    shop: Shop, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    folder = shop.run.at("mine")
    shop.catalog(f"catalog.dir={folder}")
    first = open_catalog(folder)
    assert (first.version, len(first)) == (1, 150)
    before = first.image.clone()
    shop.add(range(150, 250))
    del shop.numbers[:50]
    shop.write()
    corrections = shop.run.at("corrections.csv")
    corrections.write_text("item_id,category\ni70,dress\n")
    shutil.rmtree(shop.run.cache_dir)  # the folder itself has what was encoded
    assert shop.catalog(f"catalog.dir={folder}", f"data.overrides={corrections}") == (100, 100)
    assert "100 items added, 1 changed, 50 removed" in caplog.text
    assert "200 items" in capsys.readouterr().out
    second = open_catalog(folder)
    verify(second)
    assert (second.version, len(second)) == (2, 200)
    entry = second.manifest["history"][-1]
    assert (entry["added"], entry["changed"], entry["removed"], entry["unchanged"]) == (
        100, 1, 50, 99,
    )  # fmt: skip
    meta = second.meta()
    assert set(meta["item_id"]) == {f"i{number}" for number in range(50, 250)}
    assert meta.set_index("item_id")["category"]["i70"] == "dress"
    position = {item: row for row, item in enumerate(meta["item_id"])}
    for row, item in enumerate(first.meta()["item_id"]):
        if item in position:
            assert torch.allclose(second.image[position[item]], before[row], atol=1e-6)
            assert torch.equal(second.image_features[position[item]], first.image_features[row])
    # What was opened before is as it was; other programs see the new state under the plain names.
    assert torch.equal(first.image, before)
    assert len(first.meta()) == 150
    assert np.array_equal(np.load(folder / "catalog_img.npy"), second.image.numpy())
    del shop.numbers[:20]
    shop.write()
    assert shop.catalog(f"catalog.dir={folder}") == (0, 0)
    assert open_catalog(folder).version == 3
    assert {p.name for p in folder.glob("version-*")} == {"version-2", "version-3"}
    assert shop.catalog(f"catalog.dir={folder}") == (0, 0)
    assert open_catalog(folder).version == 3  # nothing changed


def test_a_killed_update_leaves_the_state_before(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shop.run.at("mine")
    shop.catalog(f"catalog.dir={folder}")
    shop.add(range(150, 160))
    shop.write()
    for place in ("write._write_heads", "build.switch", "growth.os.link"):
        with monkeypatch.context() as patch:

            def killed(*args: object) -> None:
                raise KeyboardInterrupt

            patch.setattr(f"fashret.catalog.{place}", killed)
            with pytest.raises(KeyboardInterrupt):
                shop.catalog(f"catalog.dir={folder}")
        catalog = open_catalog(folder)
        verify(catalog)
        # The last one is killed after the switch: the new state is the current one.
        assert (catalog.version, len(catalog)) == ((2, 160) if "link" in place else (1, 150))
    shop.catalog(f"catalog.dir={folder}")
    assert (open_catalog(folder).version, len(open_catalog(folder))) == (2, 160)
    for name in open_catalog(folder).manifest["files"]:  # the links were finished
        assert (folder / name).read_bytes() == (folder / "version-2" / name).read_bytes()


def test_what_is_open_stays_as_it_was_while_the_folder_grows(shop: Shop) -> None:
    folder = shop.run.at("mine")
    catalogs = []
    for number in range(4):
        shop.catalog(f"catalog.dir={folder}")
        catalogs.append(open_catalog(folder).changed(features=None))
        shop.add(range(150 + number, 151 + number))
        shop.write()
    for number, catalog in enumerate(catalogs):  # the files of the first two are removed by now
        sizes = {len(catalog.image), len(catalog.text), len(catalog.meta()), len(catalog)}
        assert sizes == {150 + number}
        assert catalog.heads.image.weight.shape[0] == catalog.image.shape[1]


def test_a_damaged_folder_does_not_fill_the_store(shop: Shop) -> None:
    folder = shop.run.at("mine")
    shop.catalog(f"catalog.dir={folder}")
    path = folder / "features_img.npy"
    damaged = bytearray(path.read_bytes())
    damaged[-8:] = bytes(8)
    path.write_bytes(damaged)
    shutil.rmtree(shop.run.cache_dir)
    shop.add(range(150, 160))
    shop.write()
    with pytest.raises(CatalogError, match=r"features_img.npy differs from its checksum"):
        shop.catalog(f"catalog.dir={folder}")
    assert not list(shop.run.cache_dir.glob("features/*/image/keys.bin"))


def test_a_reader_never_sees_half_an_update(shop: Shop) -> None:
    folder = shop.run.at("mine")
    shop.catalog(f"catalog.dir={folder}")
    seen, wrong, stop = set[int](), list[str](), threading.Event()

    def read() -> None:
        while not stop.is_set():
            catalog = open_catalog(folder)
            sizes = {len(catalog.image), len(catalog.text), len(catalog.meta()), len(catalog)}
            if len(sizes) > 1:
                wrong.append(f"{catalog.version}: {sizes}")
            seen.add(catalog.version)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(6):
            shop.add(range(150 + number, 151 + number))
            shop.write()
            shop.catalog(f"catalog.dir={folder}")
    finally:
        stop.set()
        reader.join()
    assert not wrong
    assert len(seen) >= 5
    assert read_manifest(folder)["version"] == 7


def test_a_folder_of_other_items_or_another_dtype_is_not_updated(shop: Shop) -> None:
    folder = shop.run.at("mine")
    shop.catalog(f"catalog.dir={folder}")
    shop.numbers = []
    shop.add(range(500, 540))
    shop.write()
    with pytest.raises(CatalogError, match=r"of other items .* none of its ids is in"):
        shop.catalog(f"catalog.dir={folder}")
    with pytest.raises(CatalogError, match=r"holds float32: give catalog.dtype=float32"):
        shop.catalog(f"catalog.dir={folder}", "catalog.dtype=float16")
    assert (open_catalog(folder).version, len(open_catalog(folder))) == (1, 150)


def test_a_disk_that_is_too_small_is_said_before_the_work(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(shop.root)._replace(free=100_000)
    monkeypatch.setattr("fashret.disk.shutil.disk_usage", lambda path: usage)
    with pytest.raises(CatalogError, match=r"features of 150 photos and 150 texts take .* 100 kB"):
        shop.catalog()
    assert shop.encoded == {"photos": 0, "texts": 0}


def test_damaged_features_are_encoded_again(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.catalog()
    path = next(shop.run.cache_dir.glob("features/*/image/vectors.bin"))
    damaged = bytearray(path.read_bytes())
    damaged[1000] ^= 4
    path.write_bytes(damaged)
    assert shop.catalog() == (1, 0)
    assert "1 features differ from their checksums and are encoded again" in caplog.text
    assert shop.catalog() == (0, 0)


def test_jobs_encode_a_part_each_and_the_catalog_is_joined(
    shop: Shop, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The last features differ from those of one job by what another batch changes."""
    counted = []
    for number in (3, 1, 2):
        with caplog.at_level(logging.INFO):
            counted.append(shop.catalog(f"catalog.part={number}/3"))
        photos, texts = counted[-1]
        assert f"part {number}/3: {photos} photos and {texts} texts encoded" in caplog.text
        assert shop.catalog(f"catalog.part={number}/3") == (0, 0)
        assert not list((tmp_path / "cache").glob("catalogs/*"))
    assert [sum(each) for each in zip(*counted, strict=True)] == [150, 150]
    photos, texts = counted[0]
    # the second job finds what the first one stored, and nothing else
    assert caplog.text.count(" are stored already") == 2
    assert f"; {photos} photos and {texts} texts are stored already" in caplog.text
    assert all(20 < photos < 80 and 20 < texts < 80 for photos, texts in counted)
    shards = shop.run.at("shards")
    assert shop.catalog(f"catalog.parquet={shards}") == (0, 0)
    assert [path.name for path in shards.iterdir()] == ["shard-00000-of-00001.parquet"]
    joined = open_catalog(next((tmp_path / "cache").glob("catalogs/*[!k]")))
    shop.run.cache_dir = tmp_path / "alone"
    assert shop.catalog() == (150, 150)
    alone = open_catalog(next((tmp_path / "alone").glob("catalogs/*[!k]")))
    assert torch.allclose(joined.image, alone.image, atol=1e-5)
    assert torch.allclose(joined.text, alone.text, atol=1e-5)
