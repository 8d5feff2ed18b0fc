"""`python evaluate.py`: judge a run, a checkpoint, or a model as it comes."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("evaluate", evaluate)


def evaluate(cfg: DictConfig) -> None:
    """One evaluation, against the same model untrained, another run, or a catalog."""
    from torch.utils.tensorboard import SummaryWriter

    from fashret.cli import outcome
    from fashret.cli.official import judge_officially
    from fashret.cli.setup import check_composed
    from fashret.cli.systems import compared_system, judged_system
    from fashret.cli.typed import draw_typed
    from fashret.errors import ConfigError

    if cfg.get("protocol") is not None:
        judge_officially(cfg)
        return
    check_composed(cfg, "evaluate")
    system = judged_system(cfg)
    setup = system.setup
    if cfg.queries and system.retriever is None:
        raise ConfigError(f"queries= needs a model; run={system.name} is a catalog")
    other, name = compared_system(cfg, system)
    if not setup.team.only_first():
        return
    judged = outcome.judge(system, [cfg.split])
    baseline = None if other is None else outcome.judge(other, [cfg.split])
    if cfg.queries:
        draw_typed(system, list(cfg.queries), cfg.split)
    title = f"{name}, {setup.source.name}, {cfg.split}"
    against_run = cfg.baseline is not None
    board = outcome.publish(system, judged, baseline, title=title, against_run=against_run)
    before = None if baseline is None else baseline[-1]
    shown = outcome.write_pages(system, judged[-1], other, before, board)
    curves = outcome.steered(system, cfg.split, before)
    with SummaryWriter(str(setup.output_dir / "tensorboard")) as writer:
        outcome.write_tensorboard(writer, setup.table, shown[0], board, curves)
    outcome.check_regressions(cfg, board)


if __name__ == "__main__":
    main()
