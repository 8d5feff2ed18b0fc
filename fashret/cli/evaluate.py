"""`python evaluate.py`: judge a run, a checkpoint, or a model as it comes."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("evaluate", evaluate)


def evaluate(cfg: DictConfig) -> None:
    """One evaluation, against the same model untrained, another run, or a catalog."""
    from torch.utils.tensorboard import SummaryWriter

    from fashret.errors import ConfigError
    from fashret.pipelines import evaluate as outcome
    from fashret.pipelines.benchmark import judge_officially
    from fashret.pipelines.held_out import check_held_out
    from fashret.pipelines.search import draw_typed, typed_queries
    from fashret.pipelines.session import check_composed
    from fashret.pipelines.systems import compared_system, judged_system, split_to_judge

    if cfg.get("protocol") is not None:
        judge_officially(cfg)
        return
    check_composed(cfg, "evaluate")
    system = judged_system(cfg)
    setup = system.setup
    if cfg.queries and system.retriever is None:
        raise ConfigError(f"queries= needs a model; run={system.name} is a catalog")
    split = split_to_judge(cfg, setup)
    other, name = compared_system(cfg, system)
    for each in (system, other):
        if each is not None:
            check_held_out(each, split, allowed=cfg.allow_trained_items)
    if not setup.team.only_first():
        return
    judged = outcome.judge(system, [split])
    baseline = None if other is None else outcome.judge(other, [split], alongside=system)
    if cfg.queries:
        draw_typed(system, typed_queries(cfg.queries), split)
    title = f"{name}, {setup.source.name}, {split}"
    latency = outcome.latency(system, judged[-1])
    board = outcome.publish(
        system,
        judged,
        baseline,
        title=title,
        latency=latency,
        against_run=cfg.baseline is not None,
    )
    before = None if baseline is None else baseline[-1]
    shown = outcome.write_pages(system, judged[-1], other, before, board, latency)
    # Weights of attribute blocks are a choice, which is not made on test unless it is named.
    chosen_on = "validation" if cfg.split is None and "validation" in setup.table.splits else split
    if system.blocks and other is not None and chosen_on != split:
        before = outcome.judge(other, [chosen_on], alongside=system)[-1]
    curves = outcome.steered(system, chosen_on, before)
    with SummaryWriter(str(setup.output_dir / "tensorboard")) as writer:
        outcome.write_tensorboard(writer, setup.table, shown[0], board, curves)
    outcome.check_regressions(cfg, board)


if __name__ == "__main__":
    main()
