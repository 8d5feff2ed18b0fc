"""The notebook of examples/, run from its first cell to its last."""

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def read() -> Any:
    """The notebook as it lies in the repository."""
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    assert len(cells) == 7
    assert [cell.outputs for cell in cells] == [[]] * len(cells)
    assert {cell.execution_count for cell in cells} == {None}


@pytest.mark.run
def test_the_notebook_runs(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cell is found by what it says, so that a new one between them breaks nothing."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = read()
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, kernel_name="python3", timeout=600, resources=resources).execute()
    results: dict[str, Any] = {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        assert [output for output in cell.outputs if output.output_type == "error"] == []
        (shown,) = [o for o in cell.outputs if o.output_type == "execute_result"]
        results[cell.source.splitlines()[-1]] = shown.data

    def plain(last_line: str) -> Any:
        return ast.literal_eval(results[last_line]["text/plain"])

    assert plain("embeddings.shape") == (2, 256)
    assert "photo -&gt; same product, hit@10" in results["run"]["text/html"]
    metric = plain('run.metrics["test/text/pair/hit@10"]')
    assert metric.keys() == {"value", "low", "high", "n", "ceiling", "chance"}
    assert 0.0 <= metric["low"] <= metric["value"] <= metric["high"] <= 1.0
    page = results["found"]["text/html"]
    assert page.count("data:image/") == 5
    assert "red v-neck cardigan" in page
    hits = plain('[(hit.item_id, round(hit.score, 3), hit.values["colour"]) for hit in both]')
    assert [colour for _, _, colour in hits] == ["blue"] * 3
    assert [score for _, score, _ in hits] == sorted((s for _, s, _ in hits), reverse=True)
    # float16 keeps 11 bits of a weight: 2^-11 = 0.0005 of each.
    assert 0.0 <= plain("float(abs(model.encode_text(texts) - embeddings).max())") < 1e-3
    assert (tmp_path / "model" / "open_clip_config.json").is_file()
    (run,) = (tmp_path / "outputs" / "train").iterdir()
    assert re.search(re.escape(run.name), results["run.folder"]["text/plain"])
