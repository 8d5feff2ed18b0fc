"""Turn a composed configuration into the options of a pipeline."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from fashret.allowlist import target_faults
from fashret.catalog.folder import MANIFEST
from fashret.config import build, check, plain, tasks
from fashret.data.embeddings import is_export
from fashret.errors import CheckpointError, ConfigError
from fashret.evaluation.compression import Compression
from fashret.models.checkpoint import checkpoint_path, read_checkpoint
from fashret.pipelines.catalog import CatalogOptions
from fashret.pipelines.evaluate import EvaluateOptions
from fashret.pipelines.export import ExportOptions
from fashret.pipelines.process_group import ProcessOptions
from fashret.pipelines.publish import ReportOptions
from fashret.pipelines.session import SessionOptions
from fashret.pipelines.train import TrainOptions, seed_all
from fashret.pipelines.trainer import TrainerOptions

_OBJECT_ARGUMENTS = {"trainer": {"callbacks", "logger"}}
_NOT_IN_REFERENCE = ("experiment", "ablation", "debug")

_ADOPTED = ("data", "model", "retrieval", "targets", "catalog")
"""The groups that other commands take from a checkpoint's configuration."""


@dataclass(frozen=True)
class Composed:
    """A composed and checked configuration.

    Attributes:
        cfg: the configuration.
        command: the name of the command, such as train.
        overrides: the overrides that the user gave.
    """

    cfg: DictConfig
    command: str
    overrides: Sequence[str]

    @classmethod
    def checked(cls, cfg: DictConfig, command: str) -> "Composed":
        """Check a configuration against its groups without experiment and overrides.

        Args:
            cfg: the composed configuration.
            command: the name of the command.

        Raises:
            ConfigError: the configuration has faults; the message names all of them.
        """
        choices, overrides = {}, []
        if HydraConfig.initialized():
            hydra = HydraConfig.get()
            choices, overrides = dict(hydra.runtime.choices), list(hydra.overrides.task)
        loader = GlobalHydra.instance().config_loader()
        if choices.get("targets") not in loader.get_group_options("targets"):
            choices.pop("targets", None)  # the data set has no targets
        groups = [
            f"{'+' * ('@' in group)}{group}={choice}"  # @: a group with a package
            for group, choice in choices.items()
            if choice is not None
            and "/" not in group
            and group not in ("hydra", *_NOT_IN_REFERENCE)
        ]
        reference = compose(command, overrides=groups)
        with open_dict(reference):
            reference.setdefault("targets", {})
        check(cfg, reference, _OBJECT_ARGUMENTS)
        return cls(cfg, command, overrides)

    @property
    def keys(self) -> list[str]:
        """The keys and groups that the user overrode."""
        parsed = OverridesParser.create().parse_overrides(list(self.overrides))
        return [override.key_or_group for override in parsed]

    def adopt(self, config: Mapping[str, Any], *, run: str) -> "Composed":
        """Take the model, data and options of a run, and keep the user's overrides.

        Args:
            config: the configuration in the run's checkpoint.
            run: the override that names the run, for messages.

        Raises:
            CheckpointError: the run's configuration has targets that are not allowed.
            ConfigError: the user overrides the model, which is fixed by the run's weights.
        """
        keys = self.keys
        changed = [key for key in keys if key == "model" or key.startswith("model.")]
        if changed:
            raise ConfigError(
                f"{changed[0]} cannot be given with {run}: it is fixed by the run's weights"
            )
        adopted = OmegaConf.create(OmegaConf.to_container(self.cfg))
        assert isinstance(adopted, DictConfig)
        groups = [g for g in _ADOPTED if g not in keys and g in self.cfg and g in config]
        if "data" in keys:  # targets belong to the data set
            groups = [group for group in groups if group != "targets"]
        elif "targets" not in keys and "targets" not in config:
            adopted["targets"] = {}
        for group, options in _validated_groups(config, groups, run).items():
            adopted[group] = options
            for key in keys:
                if key.startswith(f"{group}."):
                    value = OmegaConf.select(self.cfg, key)
                    OmegaConf.update(adopted, key, value, force_add=True)
        trained_on = (config.get("data") or {}).get("embeddings")
        if (
            "data" in adopted
            and trained_on is not None
            and OmegaConf.select(adopted, "data.embeddings") is None
        ):
            raise ConfigError(
                f"{run} was trained on data.embeddings={trained_on}: give data.embeddings=<those "
                "of the same model for this data>"
            )
        return Composed(adopted, self.command, self.overrides)

    def with_run(self) -> "Composed":
        """Take the configuration of the trained model that `run` or `ckpt` name, if they do."""
        run, ckpt = self.cfg.run, self.cfg.ckpt
        is_catalog = run is not None and (Path(run).expanduser() / MANIFEST).is_file()
        if (
            is_catalog
            or (run is not None and is_export(run))
            or (run is None and ckpt in ("last", "best"))
        ):
            return self
        config, _ = read_checkpoint(checkpoint_path(run, ckpt))
        return self.adopt(config, run=f"run={run}" if run else f"ckpt={ckpt}")

    def given_targets(self) -> frozenset[str]:
        """Return the names of the targets that the user added or changed.

        These come from the command line or from an experiment.
        """
        if not HydraConfig.initialized():
            return frozenset()
        choice = HydraConfig.get().runtime.choices.get("targets")
        # Any: Hydra's loader has a repository of configurations, its interface does not say so
        loader: Any = GlobalHydra.instance().config_loader()
        option = loader.repository.load_config(f"targets/{choice}")
        defaults = {} if option is None else OmegaConf.to_container(option.config)
        assert isinstance(defaults, dict)
        targets = OmegaConf.to_container(self.cfg.targets)
        assert isinstance(targets, dict)
        return frozenset(
            str(name) for name, target in targets.items() if defaults.get(name) != target
        )

    def session(self) -> SessionOptions:
        """Return the options that all pipelines share."""
        cfg = self.cfg
        nodes = (cfg.get("targets") or {}).items()
        parts: dict[str, Any] = {}
        if "retrieval" in cfg:
            parts["retrieval"] = build(cfg.retrieval)
        if targets := {str(name): build(node) for name, node in nodes if node}:
            parts |= {"targets": targets, "given_targets": self.given_targets()}
        source = build(cfg.data)
        return SessionOptions(
            source=source,
            model=build(cfg.model).over_embeddings(source.embeddings),
            catalog_dtype=cfg.catalog.dtype,
            device=cfg.device,
            cache_dir=Path(cfg.paths.cache_dir).expanduser(),
            output_dir=Path(cfg.paths.output_dir),
            processes=process_options(cfg) if "trainer" in cfg else None,
            **parts,
        )

    def report(self) -> ReportOptions:
        """Return the options of the report."""
        cfg, gallery = self.cfg, build(self.cfg.report.gallery)
        return ReportOptions(
            gallery=gallery if cfg.gallery else None,
            latency=cfg.latency,
            config=OmegaConf.to_yaml(cfg, resolve=True),
            commands=self.commands(),
            fail_on_regression=cfg.fail_on_regression,
        )

    def commands(self) -> list[str]:
        """Return the command lines that reproduce the run and its evaluation."""
        commands = [shlex.join(["python", f"{self.command}.py", *self.overrides])]
        if self.command == "train":
            folder = self.cfg.paths.output_dir
            commands.append(shlex.join(["python", "evaluate.py", f"run={folder}", "gallery=true"]))
        return commands


def train_options(composed: Composed) -> TrainOptions:
    """Return the options of a training run."""
    cfg = composed.cfg
    seed_all(cfg.seed)  # instantiating may draw random weights
    return TrainOptions(
        session=composed.session(),
        loss=build(cfg.loss),
        tasks=tasks(cfg),
        miner=build(cfg.miner),
        block_loss=build(cfg.block_loss),
        optimizer=build(cfg.optimizer),
        scheduler=build(cfg.scheduler),
        trainer=TrainerOptions(
            trainer=plain(cfg.trainer),
            callbacks=plain(cfg.callbacks) if cfg.callbacks else {},
            loggers=plain(cfg.logger) if cfg.logger else {},
        ),
        seed=cfg.seed,
        gather=cfg.gather,
        resume=cfg.resume,
        ckpt=cfg.ckpt,
        monitor=cfg.monitor,
        report=composed.report(),
        config=plain(cfg),
    )


def evaluate_options(composed: Composed) -> EvaluateOptions:
    """Return the options of an evaluation."""
    composed = composed.with_run()
    cfg = composed.cfg
    return EvaluateOptions(
        session=composed.session(),
        run=cfg.run,
        ckpt=cfg.ckpt,
        baseline=cfg.baseline,
        split=cfg.get("split"),
        benchmark=build(cfg.protocol) if cfg.get("protocol") is not None else None,
        queries=typed_queries(cfg.get("queries") or ()),
        quick=bool(cfg.get("quick", False)),
        allow_trained_items=bool(cfg.get("allow_trained_items", False)),
        compress=build(cfg.compress) if "compress" in cfg else Compression(),
        report=composed.report() if "report" in cfg else ReportOptions(),
    )


def catalog_options(composed: Composed) -> CatalogOptions:
    """Return the options of a catalog build."""
    composed = composed.with_run()
    cfg = composed.cfg
    folder = None if cfg.catalog.dir is None else Path(cfg.catalog.dir).expanduser()
    return CatalogOptions(
        session=composed.session(),
        run=cfg.run,
        ckpt=cfg.ckpt,
        folder=folder,
        index=cfg.catalog.index,
        uri=cfg.catalog.uri,
        part=cfg.catalog.part,
        parquet=None if cfg.catalog.parquet is None else Path(cfg.catalog.parquet).expanduser(),
    )


def export_options(composed: Composed) -> ExportOptions:
    """Return the options of an export."""
    composed = composed.with_run()
    cfg = composed.cfg
    return ExportOptions(
        model=build(cfg.model),
        out=Path(cfg.out).expanduser(),
        run=cfg.run,
        ckpt=cfg.ckpt,
        half=cfg.half,
        cache_dir=Path(cfg.paths.cache_dir).expanduser(),
    )


def process_options(cfg: DictConfig) -> ProcessOptions:
    """Return the processes that a command starts."""
    trainer, devices = cfg.trainer, cfg.trainer.devices
    return ProcessOptions(
        accelerator=str(trainer.accelerator),
        devices=devices if isinstance(devices, int | str) else list(devices),
        num_nodes=trainer.get("num_nodes", 1),
        strategy=str(trainer.strategy),
        device=cfg.device,
    )


def typed_queries(queries: str | Sequence[object]) -> list[str]:
    """Return the texts of `queries=`; a string without brackets is one query.

    Example:
        >>> typed_queries("red dress"), typed_queries(["red dress", 501])
        (['red dress'], ['red dress', '501'])
    """
    return [queries] if isinstance(queries, str) else [str(query) for query in queries]


def _validated_groups(config: Mapping[str, Any], groups: Sequence[str], run: str) -> dict[str, Any]:
    """Validate groups of a checkpoint's configuration, which may be untrusted.

    A checkpoint's configuration has no interpolations, so they are refused.

    Raises:
        CheckpointError: a group has a target that is not allowed, or is not a mapping.
    """
    selected = {group: config.get(group) for group in groups}
    faults = [
        f"{g} is not a group of options" for g, o in selected.items() if not isinstance(o, dict)
    ]
    faults += target_faults(selected, "")
    faults += [f"{key} is an interpolation, {value}" for key, value in _interpolations(selected)]
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise CheckpointError(f"{run}: the configuration in the checkpoint is refused:\n{lines}")
    return selected


def _interpolations(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """The strings with OmegaConf interpolations, with their keys."""
    if isinstance(value, str) and "${" in value:
        yield path, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _interpolations(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from _interpolations(part, f"{path}[{number}]")
