"""`python evaluate.py`: judge a run, a checkpoint, or a model as it comes."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("evaluate", evaluate)


def evaluate(cfg: DictConfig) -> None:
    """One evaluation, against the same model untrained."""
    from fashret.cli import outcome
    from fashret.cli.checkpoints import named_checkpoint, trained
    from fashret.cli.setup import Setup, check_composed
    from fashret.cli.typed import draw_typed

    check_composed(cfg, "evaluate")
    cfg, state = named_checkpoint(cfg)
    setup = Setup.of(cfg)
    catalog = setup.baseline_catalog()
    splits = [cfg.split]
    baseline = outcome.judge(setup, outcome.untrained(catalog, setup), catalog, splits)
    if state is None:
        retriever, judged = outcome.untrained(catalog, setup), baseline
        title = f"{setup.spec.label} as it comes, {setup.source.name}, {cfg.split}"
        outcome.publish(setup, catalog, judged, None, title=title)
    else:
        retriever, catalog = trained(setup, state, catalog)
        judged = outcome.judge(setup, retriever, catalog, splits)
        title = f"{cfg.run or cfg.ckpt}, {setup.source.name}, {cfg.split}"
        outcome.publish(setup, catalog, judged, baseline, title=title)
    if cfg.queries:
        draw_typed(setup, retriever, catalog, state, list(cfg.queries), cfg.split)
