"""`fashret train`: prepare the data, encode once, train, and compare with the baseline."""

from shutil import get_terminal_size

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("train", train)


def train(cfg: DictConfig) -> float:
    """Train a model, and print its scoreboard; with `dry_run`, say what that would be.

    Returns:
        The monitored metric at the end, which a sweep compares; 0 if it is undefined.
    """
    from fashret.cli.options import Composed, train_options
    from fashret.cli.show import show
    from fashret.pipelines import train as pipeline
    from fashret.pipelines.dry_run import dry_run as describe
    from fashret.pipelines.publish import check_regressions

    options = train_options(Composed.checked(cfg, "train"))
    if cfg.dry_run:
        if (overview := describe(options)) is not None:
            print(overview.wrapped(get_terminal_size().columns))
        return 0.0
    result = pipeline.train(options)
    if result is None:  # a process with rank > 0
        return 0.0
    show(result.published, result.curves, result.system.session.output_dir)
    check_regressions(options.report, result.published.scoreboard)
    return result.objective


if __name__ == "__main__":
    main()
