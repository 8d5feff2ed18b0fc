"""`fashret train`: prepare, encode once, train, and show what improved."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("train", train)


def train(cfg: DictConfig) -> float:
    """Run one training.

    Returns:
        The monitored metric at the end, for a sweep to compare; the worst value if undefined.
    """
    from fashret.cli.compose import Composed, train_options
    from fashret.cli.show import show
    from fashret.pipelines import train as pipeline
    from fashret.pipelines.publish import check_regressions

    options = train_options(Composed.checked(cfg, "train"))
    result = pipeline.train(options)
    if result is None:  # a process beside the first
        return 0.0
    show(result.published, result.curves, result.system.session.output_dir)
    check_regressions(options.report, result.published.scoreboard)
    return result.objective


if __name__ == "__main__":
    main()
