"""Exported runs."""

import pytest

from fashret.errors import ConfigError
from support.commands import ONE_EPOCH, Run, lines, metrics


def test_a_run_is_exported_as_a_model_that_open_clip_reads(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = run("train", *ONE_EPOCH)
    bundle = run.at("bundle")
    run("export", f"run={trained}", f"out={bundle}", folder="export", small=False)
    assert f"model.name=local-dir:{bundle}" in capsys.readouterr().out
    model = (f"model.name=local-dir:{bundle}", "model.pretrained=null")
    judged = run("evaluate", *model, folder="judged")
    last, again = lines(trained)[-1], metrics(judged)
    for key in ("val/image/category/precision@10", "val/text/pair/mrr@10"):
        assert again[key]["value"] == pytest.approx(last[key], abs=0.02)  # half precision
    with pytest.raises(ConfigError, match="holds other files"):
        run("export", f"run={trained}", f"out={trained}", folder="export", small=False)
