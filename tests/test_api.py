"""fashret from Python: in a process, in a script, from threads, beside somebody's own Hydra."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

import fashret
from fashret.api import _composed
from fashret.cli.resumed_overrides import quoted
from fashret.errors import CatalogError, ConfigError
from fashret.evaluation.options import RetrievalOptions
from support.project import ROOT

pytestmark = pytest.mark.run

SMALL = (
    "data.products=48", "data.batch_size=16", "data.num_workers=0", "retrieval.resamples=100",
)  # fmt: skip
FAST = (
    *SMALL, "trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.devices=1", "device=cpu",
    "trainer.enable_progress_bar=false", "gallery=false", "latency=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> fashret.TrainResult:
    folder = tmp_path_factory.mktemp("api") / "a run, with 'quotes'"
    escaped = str(folder).replace("'", "\\'")
    return fashret.train(*FAST, f"paths.output_dir='{escaped}'")


def test_a_training_result_has_what_a_run_folder_has(trained: fashret.TrainResult) -> None:
    assert (trained.folder / "metrics.json").is_file()
    assert trained.metrics["test/text/pair/hit@10"]["n"] == 24
    assert 0.0 <= trained.objective <= 1.0
    assert [row.name for row in trained.scoreboard.targets]
    assert "<svg" in trained._repr_html_()
    assert trained.scoreboard.title in trained._repr_html_()


def test_a_model_encodes_texts_and_photos_alike_wherever_it_comes_from(
    trained: fashret.TrainResult, tmp_path: Path
) -> None:
    texts = ["a red dress", "blue jeans", "a green coat"]
    mine = trained.model.encode_text(texts)
    assert mine.shape == (3, trained.model.dim)
    assert mine.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(mine, axis=1), 1.0, atol=1e-6)
    of_folder = fashret.load(trained.folder, device="cpu")
    of_file = fashret.load(trained.folder / "checkpoints" / "last.ckpt", device="cpu")
    np.testing.assert_allclose(of_folder.encode_text(texts, batch_size=2), mine, atol=1e-6)
    np.testing.assert_array_equal(of_file.encode_text(texts), mine)
    bundle = fashret.export(trained, tmp_path / "bundle", half=False)
    np.testing.assert_allclose(
        fashret.load(bundle, device="cpu").encode_text(texts), mine, atol=1e-5
    )
    clip, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{bundle}")
    table = fashret.prepare(*SMALL[:3])
    encoded = table.photo(0)
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded)
    photo = Image.open(path).convert("RGB")
    four = trained.model.encode_image([path, photo, np.asarray(photo), encoded])
    np.testing.assert_allclose(four, np.repeat(four[:1], 4, axis=0), atol=1e-6)
    theirs = clip.eval().encode_image(preprocess(photo)[None], normalize=True)[0].detach().numpy()
    np.testing.assert_allclose(four[0], theirs, atol=1e-4)


def test_one_photo_may_be_given_as_it_is(tmp_path: Path) -> None:
    model = fashret.load("tiny", device="cpu")
    array = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    expected = model.encode_image([array])
    path = tmp_path / "a.png"
    for photo in (array, Image.fromarray(array), path, str(path), path.read_bytes()):
        assert np.array_equal(model.encode_image(photo), expected)
    assert model.encode_image(np.stack([array, array])).shape == (2, 256)


def test_what_cannot_be_read_or_loaded_is_named(tmp_path: Path) -> None:
    model = fashret.load("tiny", device="cpu")
    assert model.encode_text([]).shape == (0, 256)
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(fashret.DataError, match=r"torn\.jpg cannot be read"):
        model.encode_image([tmp_path / "torn.jpg"])
    with pytest.raises(fashret.DataError, match=r"none\.jpg cannot be read"):
        model.encode_image([tmp_path / "none.jpg"])
    torch.save({"state_dict": {}, "more": print}, tmp_path / "objects.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    torch.save(torch.zeros(3), tmp_path / "tensor.ckpt")
    torch.save({"hyper_parameters": {"config": "a.yaml"}}, tmp_path / "foreign.ckpt")
    none = "no configuration"
    for name, why in (
        ("objects", "only running code could make"), ("other", none), ("tensor", none),
        ("foreign", none),
    ):  # fmt: skip
        with pytest.raises(fashret.CheckpointError, match=rf"{name}.ckpt .*{why}"):
            fashret.load(tmp_path / f"{name}.ckpt")
    with pytest.raises(fashret.CheckpointError, match="elsewhere is not a model: give a run"):
        fashret.load("elsewhere")
    with pytest.raises(fashret.ConfigError, match="device=gpu9 is not available"):
        fashret.load("tiny", device="gpu9")
    with pytest.raises(fashret.CatalogError, match="neither a run folder nor a catalog"):
        fashret.search(tmp_path, text="a dress")
    with pytest.raises(fashret.ConfigError, match=r"data.prducts.*did you mean data.products"):
        fashret.train("data.prducts=48")


def test_a_search_finds_what_a_plain_product_finds(
    trained: fashret.TrainResult, tmp_path: Path
) -> None:
    table = trained.system.session.table
    stored = trained.system.embeddings.image.float().numpy()
    scores = stored @ trained.model.encode_text("a red dress")[0]
    expected = [table.column("item_id")[row] for row in np.argsort(-scores, kind="stable")[:5]]
    found = fashret.search(trained, text="a red dress", k=5)
    assert found.ids == expected
    assert len(found) == 5
    assert found[0].score == pytest.approx(float(scores.max()), abs=1e-6)
    assert fashret.search(trained.folder, text="a red dress", k=5).ids == expected
    page = found._repr_html_()
    assert page.count("<img") == 5
    categories = table.column("category")
    wanted = categories[0]
    of_kind = fashret.search(trained, text="a red dress", k=96, where={"category": wanted})
    assert len(of_kind) == categories.count(wanted)
    assert {hit.values["category"] for hit in of_kind} == {wanted}
    photo = table.photo(7)
    assert fashret.search(trained, image=photo, k=1).ids == [table.column("item_id")[7]]
    both = fashret.search(trained, image=photo, text=table.column("text")[7], k=1)
    assert both.ids == [table.column("item_id")[7]]
    # Each product once, by its photo that is nearest.
    products, best = table.column("product_id"), {}
    for row in np.argsort(-scores, kind="stable").tolist():
        best.setdefault(products[row], table.column("item_id")[row])
    once = fashret.search(trained, text="a red dress", k=20, by="product")
    assert once.ids == list(best.values())[:20]
    assert once.ids != fashret.search(trained, text="a red dress", k=20).ids
    every = fashret.search(trained, text="a red dress", k=500, by="product")
    assert every.ids == list(best.values())
    with pytest.raises(fashret.ConfigError, match="search: by=photo must be item or product"):
        fashret.search(trained, text="x", by="photo")
    with pytest.raises(fashret.ConfigError, match=r"where names 'color'; the items have category"):
        fashret.search(trained, text="x", where={"color": "red"})
    with pytest.raises(fashret.ConfigError, match="no item has colour=mauve"):
        fashret.search(trained, text="x", where={"colour": "mauve"})
    with pytest.raises(fashret.ConfigError, match=r"weight_image=3.0 must be between 0 and 1"):
        fashret.search(trained, text="x", weight_image=3.0)
    with pytest.raises(
        fashret.ConfigError, match=r"names 'nope'; the model has no attribute heads"
    ):
        fashret.search(trained, text="x", weights={"nope": 0.5})
    with pytest.raises(fashret.ConfigError, match=r"give text=, image= or item="):
        fashret.search(trained)


def test_a_catalog_folder_is_searched_by_the_model_that_it_was_made_with(
    trained: fashret.TrainResult, cache_dir: Path, tmp_path: Path
) -> None:
    expected = fashret.search(trained, text="blue jeans", k=4)
    run = str(trained.folder).replace("'", "\\'")
    catalog = fashret.build_catalog(
        f"run='{run}'", f"catalog.dir={tmp_path / 'catalog'}", "device=cpu"
    )
    found = fashret.search(catalog.folder, text="blue jeans", k=4)
    assert found.ids == expected.ids
    assert found.scores == pytest.approx(expected.scores, abs=1e-5)
    assert fashret.search(catalog.folder, text="blue jeans", model=trained.model, k=4).ids == (
        expected.ids
    )
    assert "<img" not in found._repr_html_()  # a catalog has no photos


def test_a_run_is_evaluated_against_another_by_a_benchmark(trained: fashret.TrainResult) -> None:
    run = str(trained.folder).replace("'", "\\'")
    found = fashret.evaluate(
        f"run='{run}'", "protocol=keyword", "quick=true", "retrieval.resamples=100",
        "latency=false", "device=cpu", f"paths.output_dir={trained.folder.parent / 'judged'}",
    )  # fmt: skip
    assert found.scoreboard.compared
    assert all(key.startswith("test/keyword/") for key in found.metrics)
    assert (found.folder / "protocol.md").is_file()


def test_two_threads_search_and_encode_at_once(trained: fashret.TrainResult) -> None:
    texts = [f"a {colour} dress" for colour in ("red", "blue", "green", "black")] * 4
    one = [fashret.search(trained, text=text, k=3).ids for text in texts]
    with ThreadPoolExecutor(8) as pool:
        many = list(pool.map(lambda text: fashret.search(trained, text=text, k=3).ids, texts))
        encoded = list(pool.map(lambda text: trained.model.encode_text(text)[0], texts))
    assert many == one
    for text, vector in zip(texts, encoded, strict=True):
        np.testing.assert_allclose(vector, trained.model.encode_text(text)[0], atol=1e-6)


def test_somebodys_own_hydra_stays_as_it_is(cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("answer: 42\n")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        table = fashret.prepare(*SMALL[:3])
        assert len(table) == 96
        assert compose("mine").answer == 42


def test_a_run_folder_may_be_named_and_resumed(trained: fashret.TrainResult) -> None:
    with _composed(
        "train", [f"resume={quoted(trained.folder)}", "trainer.max_epochs=2"]
    ) as composed:
        assert composed.cfg.paths.output_dir == str(trained.folder)
        assert composed.cfg.data.products == 48
        assert composed.cfg.trainer.max_epochs == 2


SCRIPT = """
import fashret, os, sys
print("begun", os.getpid(), flush=True)
run = fashret.train({options}, "model.train=blocks", "data.products=640", "data.views=1",
                    "data.num_workers=2", "paths.output_dir=run")
print(run.model.encode_text(["a red dress"]).shape, fashret.search(run, text="a dress", k=2).ids)
print(fashret.load(fashret.export(run, "bundle"), device="cpu").dim)
"""


def test_a_script_without_a_main_guard_trains_with_worker_processes(tmp_path: Path) -> None:
    """It draws the sample and decodes photos in processes; none runs the script again."""
    options = ", ".join(repr(option) for option in FAST)
    (tmp_path / "script.py").write_text(SCRIPT.format(options=options))
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path),
             "FASHRET_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("begun") == 1
    assert "(1, 256)" in done.stdout
    assert done.stdout.strip().endswith("256")


def test_encoding_imports_neither_lightning_nor_hydra() -> None:
    code = (
        "import time; start = time.perf_counter(); import fashret, sys; "
        "took = time.perf_counter() - start; "
        "heavy = ('torch', 'pytorch_lightning', 'hydra', 'omegaconf', 'datasets'); "
        "print([n for n in heavy if n in sys.modules]); "
        "print(fashret.load('tiny', device='cpu').encode_text(['a dress']).shape); "
        "print([n for n in heavy[1:] if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "(1, 256)", "[]"]


def test_the_public_names_are_these() -> None:
    assert fashret.__all__ == sorted(fashret.__all__, key=lambda name: (name.lower() == name, name))
    for name in fashret.__all__:
        assert getattr(fashret, name) is not None
        assert name in dir(fashret)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        fashret.trian  # noqa: B018


def test_parts_can_be_made_without_hydra(cache_dir: Path, tmp_path: Path) -> None:
    """A session of objects alone, evaluated."""
    from fashret.data.sources import Sample
    from fashret.pipelines.evaluate import EvaluateOptions, evaluate
    from fashret.pipelines.session import SessionOptions

    start = time.perf_counter()
    session = SessionOptions(
        source=Sample(products=48, batch_size=16, num_workers=0),
        retrieval=RetrievalOptions(k=[5], resamples=50),
        device="cpu",
        cache_dir=cache_dir,
        output_dir=tmp_path,
    )
    result = evaluate(EvaluateOptions(session=session, split="test"))
    assert result is not None
    assert result.metrics["test/text/pair/hit@5"]["n"] == 24
    assert time.perf_counter() - start < 600


def test_a_run_in_a_folder_of_another_is_the_new_run(cache_dir: Path, tmp_path: Path) -> None:
    folder = f"paths.output_dir={tmp_path / 'run'}"
    fashret.train(*FAST, folder, "loss.temperature=0.5")
    fashret.train(*FAST, folder, "loss.temperature=0.05", "retrieval.by=product")
    overrides = (tmp_path / "run" / ".hydra" / "overrides.yaml").read_text()
    assert "loss.temperature=0.05" in overrides
    assert "loss.temperature=0.5\n" not in overrides
    resumed = fashret.train(f"resume={tmp_path / 'run'}", "trainer.max_epochs=2")
    assert resumed.system.session.options.retrieval.by == "product"
    assert (tmp_path / "run" / ".hydra" / "overrides.yaml").read_text() == overrides


def test_a_catalog_is_searched_by_its_own_model_alone(
    trained: fashret.TrainResult, cache_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "catalog"
    fashret.build_catalog(*SMALL[:1], f"catalog.dir={folder}", "device=cpu")
    own = fashret.load("tiny", device="cpu")
    assert len(fashret.search(folder, text="red", model=own)) == 10
    for other in (fashret.load(fashret.ModelSpec(pretrained=None), device="cpu"), trained.model):
        with pytest.raises(CatalogError, match=r"was built by another model than the one given"):
            fashret.search(folder, text="red", model=other)
    with pytest.raises(ConfigError, match=r"model='tiny': give what fashret.load returns"):
        fashret.search(folder, text="red", model="tiny")
    with pytest.raises(ConfigError, match=r"model= is for a catalog folder"):
        fashret.search(trained, text="red", model=own)
    assert (folder / "heads.safetensors").stat().st_mode & 0o444 == 0o444


def test_an_embedding_of_the_model_is_a_query(trained: fashret.TrainResult) -> None:
    by_text = fashret.search(trained, text="a red dress")
    vector = trained.model.encode_text("a red dress")[0]
    by_vector = fashret.search(trained, text=3.0 * vector)
    assert by_vector.ids == by_text.ids
    assert by_vector.scores == pytest.approx(by_text.scores, abs=1e-5)
    with pytest.raises(ConfigError, match=r"a query embedding has 256 finite numbers"):
        fashret.search(trained, text=vector[:128])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"k": "3"}, r"k=3 must be a whole number"),
        ({"k": 1.5}, r"k=1.5 must be a whole number"),
        ({"weight_image": None}, r"weight_image=None must be between 0 and 1"),
        ({"where": "category"}, r"where='category' must"),
        ({"text": ["red"]}, r"text=\['red'\] must be a text"),
    ],
)
def test_wrong_arguments_of_a_search_are_named(
    trained: fashret.TrainResult, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        fashret.search(trained, **({"text": "red"} | wrong))


def test_what_cannot_be_searched_and_what_is_no_override_is_named() -> None:
    with pytest.raises(ConfigError, match=r"a NoneType cannot be searched: pass a result"):
        fashret.search(None, text="red")  # type: ignore[arg-type]  # what is tested
    for wrong in (["data.products=48"], 5, None):
        with pytest.raises(ConfigError, match=r"an override is a text"):
            fashret.train(wrong)  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=1,2", r"seed=1,2 is a sweep: call fashret.train once for each value"),
        ("-m", r"-m: options that begin with - are for the command line alone"),
        ("paths.output_dir=", r"paths.output_dir is empty: give a folder"),
        ("retrieval.weights={general: 0.0}", r"the general embedding has the weight 1"),
    ],
)
def test_an_override_that_means_nothing_in_python_is_answered(
    override: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        fashret.train(override, "data.products=48")
    assert not any(tmp_path.rglob("*.ckpt"))


def test_a_change_of_the_folder_between_calls_changes_nothing(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = fashret.train(*FAST)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run.folder.is_absolute()
    exported = fashret.export(run, tmp_path / "exported")
    assert (Path(tmp_path / "exported") / "open_clip_config.json").is_file() or exported
    assert fashret.load(run.folder, device="cpu").dim == 256
