"""`python evaluate.py`: judge a run, a checkpoint, or a model as it comes."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("evaluate", evaluate)


def evaluate(cfg: DictConfig) -> None:
    """One evaluation, against the same model untrained or against another run."""
    from torch.utils.tensorboard import SummaryWriter

    from fashret.cli import outcome
    from fashret.cli.checkpoints import named_checkpoint, of_run, trained
    from fashret.cli.setup import Setup, check_composed
    from fashret.cli.typed import draw_typed

    check_composed(cfg, "evaluate")
    cfg, state = named_checkpoint(cfg)
    if cfg.quick:
        cfg.retrieval.max_queries = cfg.retrieval.max_queries or 500
        cfg.retrieval.max_items = cfg.retrieval.max_items or 5000
    setup = Setup.of(cfg)
    catalog = setup.baseline_catalog()
    splits = [cfg.split]
    retriever, what = outcome.untrained(catalog, setup), f"{setup.spec.label} as it comes"
    judged = outcome.judge(setup, retriever, catalog, splits)
    baseline = None
    if state is not None:
        baseline, what = judged, cfg.run or cfg.ckpt
        retriever, catalog = trained(setup, state, catalog)
        judged = outcome.judge(setup, retriever, catalog, splits)
    if cfg.baseline is not None:
        other, other_state = of_run(cfg, cfg.baseline)
        other_setup = Setup.of(other)
        model = trained(other_setup, other_state, other_setup.baseline_catalog())
        baseline, what = (
            outcome.judge(other_setup, *model, splits),
            f"{what} against {cfg.baseline}",
        )
    if cfg.queries:
        draw_typed(setup, retriever, catalog, state, list(cfg.queries), cfg.split)
    title = f"{what}, {setup.source.name}, {cfg.split}"
    board = outcome.publish(setup, catalog, judged, baseline, title=title)
    against = None if baseline is None else baseline[-1]
    curves = outcome.steered(setup, retriever, catalog, cfg.split, against)
    with SummaryWriter(str(setup.output_dir / "tensorboard")) as writer:
        outcome.write_tensorboard(writer, board, curves)
