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

    from fashret.cli import outcome, training
    from fashret.cli.checkpoints import trained
    from fashret.cli.setup import Setup, check_composed

    check_composed(cfg, "train")
    training.check_regime(cfg)
    seed_everything(cfg.seed, workers=True, verbose=False)
    setup = Setup.of(cfg)
    catalog = setup.baseline_catalog()
    splits = training.splits_to_judge(setup)
    baseline = outcome.judge(setup, outcome.untrained(catalog, setup), catalog, splits)

    items = training.training_items(setup, catalog)
    module = training.make_module(setup, items, catalog)
    data = setup.data_module(catalog, items, module.miner)
    trainer = training.make_trainer(setup)
    training.log_evaluations(trainer, baseline, to_train_log=True)
    if not setup.spec.learns:
        print("nothing learns (model.heads=false, model.train=heads): the baseline is measured")
        outcome.publish(setup, catalog, baseline, None, title=training.title(setup, splits[-1]))
        return training.monitored(setup, baseline)

    trainer.fit(module, data, ckpt_path=training.resume_from(cfg), weights_only=True)
    if not trainer.is_global_zero:
        return 0.0
    retriever, catalog = trained(setup, training.final_state(setup, module), catalog)
    final = outcome.judge(setup, retriever, catalog, splits)
    training.log_evaluations(trainer, final, to_train_log=False)
    board = outcome.publish(
        setup, catalog, final, baseline, title=training.title(setup, splits[-1])
    )
    curves = outcome.steered(setup, retriever, catalog, splits[-1], baseline[-1])
    training.log_outcome(trainer, board, curves)
    return training.monitored(setup, final)
