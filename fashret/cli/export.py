"""`fashret-export`: a trained model as a folder that open_clip reads."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("export", export)


def export(cfg: DictConfig) -> None:
    """Write one bundle, and say how to use it."""
    from pathlib import Path

    from fashret.config import build
    from fashret.models.backbone import load_backbone
    from fashret.models.bundle import write_bundle
    from fashret.models.retriever import Retriever
    from fashret.pipelines.checkpoints import named_checkpoint, with_weights
    from fashret.pipelines.session import check_composed

    check_composed(cfg, "export")
    cfg, state = named_checkpoint(cfg)
    spec = build(cfg.model)
    retriever = Retriever.on(load_backbone(spec, Path(cfg.paths.cache_dir).expanduser()))
    if state is not None:
        with_weights(state, retriever, spec)
    names = ("loss.log_scale", "loss.contrastive.log_scale")
    scales = [state[name] for name in names if state is not None and name in state]
    folder = Path(cfg.out).expanduser()
    write_bundle(retriever, spec, folder, half=cfg.half, log_scale=scales[0] if scales else None)
    if retriever.block_names:
        print(f"without the blocks of {', '.join(retriever.block_names)}: open_clip knows of none")
    print(
        f"written to {folder}\n"
        f"here:      model.name=local-dir:{folder} model.pretrained=null\n"
        f"elsewhere: open_clip.create_model_and_transforms('local-dir:{folder}')"
    )


if __name__ == "__main__":
    main()
