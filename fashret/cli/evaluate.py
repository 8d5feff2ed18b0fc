"""`fashret evaluate`: evaluate a run, a checkpoint, a catalog, or an untrained model."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("evaluate", evaluate)


def evaluate(cfg: DictConfig) -> None:
    """Run one evaluation, against the untrained model, another run, or a catalog."""
    from fashret.cli.options import Composed, evaluate_options
    from fashret.cli.show import show
    from fashret.pipelines import evaluate as pipeline
    from fashret.pipelines.publish import check_regressions

    options = evaluate_options(Composed.checked(cfg, "evaluate"))
    result = pipeline.evaluate(options)
    if result is None:  # a process with rank > 0
        return
    if result.queries is not None:
        print(f"hits of the typed queries: {result.queries}")
    show(result.published, result.curves, result.system.session.output_dir)
    check_regressions(options.report, result.published.scoreboard)


if __name__ == "__main__":
    main()
