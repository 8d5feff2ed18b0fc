"""`python train.py`: prepare, encode once, train, and show what became better."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("train", train)


def train(cfg: DictConfig) -> float:
    """One training run.

    Returns:
        The monitored metric at the end, for a sweep to compare; the worst value if undefined.
    """
    from pytorch_lightning import seed_everything

    from fashret.data.leakage import write_training_record
    from fashret.pipelines import evaluate as outcome
    from fashret.pipelines import train as training
    from fashret.pipelines.held_out import check_same_data
    from fashret.pipelines.session import Setup, check_composed, check_weights
    from fashret.pipelines.systems import System
    from fashret.pipelines.trainer import make_trainer

    check_composed(cfg, "train")
    training.check_regime(cfg)
    seed_everything(cfg.seed, workers=True, verbose=False)
    setup = Setup.of(cfg, together=True)
    check_weights(cfg.retrieval.weights, tuple(setup.spec.block_widths))
    checkpoint = training.resume_from(setup)
    check_same_data(setup, checkpoint)
    untrained = System.untrained(setup)
    splits = training.splits_to_judge(setup)
    baseline = outcome.judge(untrained, splits)

    items = training.training_items(setup, untrained.catalog)
    module = training.make_module(setup, items, untrained.catalog)
    data = setup.data_module(untrained.catalog, items, module.miner)
    trainer = make_trainer(setup.cfg)
    training.log_evaluations(trainer, baseline, to_train_log=True)
    title = training.title(setup, splits[-1])
    if not setup.spec.learns:
        if not setup.team.only_first():
            return 0.0
        print("nothing learns (model.heads=false, model.train=heads): the baseline is measured")
        latency = outcome.latency(untrained, baseline[-1])
        board = outcome.publish(untrained, baseline, None, title=title, latency=latency)
        outcome.write_pages(untrained, baseline[-1], None, None, board, latency)
        return training.monitored(setup, baseline)

    if setup.team.global_rank == 0:
        write_training_record(setup.output_dir, setup.table, items.rows.numpy())
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    setup.forget_towers()
    system = System.trained(title, setup, training.final_state(setup, module))
    if not setup.team.only_first():
        return 0.0
    final = outcome.judge(system, splits)
    training.log_evaluations(trainer, final, to_train_log=False)
    latency = outcome.latency(system, final[-1])
    board = outcome.publish(system, final, baseline, title=title, latency=latency)
    shown = outcome.write_pages(system, final[-1], untrained, baseline[-1], board, latency)
    curves = outcome.steered(system, splits[0], baseline[0])
    training.log_outcome(trainer, setup, shown[0], board, curves)
    outcome.check_regressions(cfg, board)
    return training.monitored(setup, final)


if __name__ == "__main__":
    main()
