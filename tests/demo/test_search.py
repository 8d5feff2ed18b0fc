"""The search page's answers. tests/test_browser.py looks at the page itself."""

from dataclasses import replace

import numpy as np
import pytest
from starlette.testclient import TestClient

from fashret.catalog.ann_index import AnnIndex
from fashret.cli.options import Composed, evaluate_options
from fashret.demo.search import IndexedModel, Query, Search
from fashret.demo.server import application
from fashret.functional.blocks import Layout
from fashret.pipelines.demo import demo_search
from support.commands import SMALL, Run, composed
from support.search_page import hits

pytestmark = pytest.mark.run


def test_an_item_asked_with_finds_what_is_nearest_to_it(client: TestClient, search: Search) -> None:
    image = search.models[0].image
    alike = (image[7] @ image.T).numpy()
    alike[7] = -2.0
    found = hits(client, item=int(search.rows[7]))
    assert [hit["row"] for hit in found] == search.rows[np.argsort(-alike)[:10]].tolist()
    assert found[0]["score"] == pytest.approx(alike.max(), abs=1e-5)
    assert found[0]["photo"] == pytest.approx(found[0]["score"], abs=1e-5)


def test_a_dropped_photo_of_an_item_finds_the_item(client: TestClient, search: Search) -> None:
    row = int(search.rows[11])
    found = hits(client, search.table.photo(row))
    assert found[0]["row"] == row
    assert found[0]["score"] == pytest.approx(1.0, abs=1e-4)


def test_a_photo_and_a_text_ask_as_a_fused_query_of_the_evaluation(
    client: TestClient, search: Search
) -> None:
    """The photo is compared with the photos of the items, the text with their texts."""
    shelf = search.models[0]
    place = int(np.searchsorted(search.rows, 5))
    of_photo = shelf.image[place] @ shelf.image.T
    of_text = shelf.towers.embed_texts(["red dress"])[0] @ shelf.text.T
    for weight in (0.0, 0.3, 1.0):
        scores = (weight * of_photo + (1 - weight) * of_text).double()
        scores[place] = -2.0
        both = hits(client, text="red dress", item=5, weight_image=weight)
        best = scores.sort(descending=True).values[: len(both)].tolist()
        assert [hit["score"] for hit in both] == pytest.approx(best, abs=1e-5)
    between = hits(client, text="red dress", item=5, weight_image=0.5)
    assert between[0]["score"] == pytest.approx(
        (between[0]["photo"] + between[0]["text"]) / 2, abs=1e-5
    )


def test_filters_hold_for_every_hit(client: TestClient, search: Search) -> None:
    column = {n: np.array(search.table.column(n))[search.rows] for n in ("category", "neckline")}
    counts = []
    for category in search.values["category"]:
        for neckline in search.values["neckline"]:
            has_both = (column["category"] == category) & (column["neckline"] == neckline)
            fits = set(search.rows[has_both].tolist())
            found = hits(client, text="shirt", filters={"category": category, "neckline": neckline})
            assert len(found) == min(10, len(fits))
            assert {hit["row"] for hit in found} <= fits
            for hit in found:
                assert hit["values"]["category"] == category
                assert hit["values"]["neckline"] == neckline
            counts.append(len(found))
    assert min(counts) == 0 < max(counts)
    shelf = hits(client, filters={"category": "shorts"})
    shorts = search.rows[column["category"] == "shorts"]
    assert [hit["row"] for hit in shelf] == shorts[:10].tolist() != []
    assert all(hit["score"] is None for hit in shelf)


def test_a_block_counts_as_much_as_it_is_weighed(search: Search) -> None:
    towers = search.models[0].towers

    class Steered:
        """The same towers, with half of the embedding taken for the block of an attribute."""

        layout = Layout.from_widths({"general": towers.dim // 2, "neckline": towers.dim // 2})

    image = search.models[0].image
    shelf = IndexedModel("steered", Steered(), image, image)  # type: ignore[arg-type]
    steered = Search([shelf], search.table, search.codes, search.rows, results=3)
    assert steered.attribute_heads == ["neckline"]
    half = towers.dim // 2
    client = TestClient(application(steered, "sample", "127.0.0.1"), base_url="http://localhost")
    alike = 2 * (image[3, :half] @ image[:, :half].T + 2 * image[3, half:] @ image[:, half:].T) / 3
    alike[3] = -9.0
    found = hits(client, item=int(search.rows[3]), weights={"neckline": 2.0})
    expected = alike.topk(3)
    assert [hit["row"] for hit in found] == search.rows[expected.indices.numpy()].tolist()
    assert [hit["score"] for hit in found] == pytest.approx(expected.values.tolist(), abs=1e-5)


def test_by_product_each_product_is_shown_once_by_its_best_photo(search: Search) -> None:
    product = search.codes.product.numpy()[search.rows]
    once = replace(search, by_product=True, results=500)
    (answer,) = once.find(Query(text="red dress"))
    (every,) = replace(search, results=500).find(Query(text="red dress"))
    best: dict[int, int] = {}
    for hit in every["hits"]:
        best.setdefault(int(product[np.searchsorted(search.rows, hit["row"])]), hit["row"])
    assert [hit["row"] for hit in answer["hits"]] == list(best.values())
    assert len(best) < len(every["hits"])


@pytest.mark.parametrize("by", ["item", "product"])
@pytest.mark.parametrize("split", [None, "train"])
def test_an_index_proposes_what_the_page_scores(
    run: Run, by: str, split: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run.at("indexed")
    run("build_catalog", f"catalog.dir={folder}", "catalog.index=hnsw")
    options = [*SMALL[:1], f"paths.cache_dir={run.cache_dir}", "paths.output_dir=none"]
    options += ["device=cpu", f"run={folder}", f"retrieval.by={by}"]
    checked = Composed.checked(composed("demo", options), "demo")
    given = replace(evaluate_options(checked), split=split, baseline=None)
    page = demo_search(given, results=2)
    assert page.models[0].source is not None
    exact = replace(page, models=[page.models[0]._replace(source=None)])
    asked: list[int] = []
    candidates = AnnIndex.candidates

    def counting(self: AnnIndex, queries: np.ndarray, count: int) -> np.ndarray:
        asked.append(count)
        return candidates(self, queries, count)

    monkeypatch.setattr(AnnIndex, "candidates", counting)
    item = int(page.rows[3])
    filters = {"category": page.values["category"][0]}
    for query in (Query(text="a red dress"), Query(item=item), Query(text="red", filters=filters)):
        (indexed,), (all_scored,) = page.find(query), exact.find(query)
        assert asked or query.filters  # a filter may leave few, which are all scored
        asked.clear()
        assert [hit["row"] for hit in indexed["hits"]] == [h["row"] for h in all_scored["hits"]]
        assert {hit["row"] for hit in indexed["hits"]} <= set(page.rows.tolist())
    page.find(Query(text="a red dress", item=item))
    page.find(Query())
    assert not asked  # both together are scored in full, and no query lists the items
