"""`fashret export`: a trained model as a folder that open_clip reads."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("export", export)


def export(cfg: DictConfig) -> None:
    """Export a model, and print how to load it."""
    from fashret.cli.options import Composed, export_options
    from fashret.pipelines import export as pipeline

    options = export_options(Composed.checked(cfg, "export"))
    left_out = pipeline.export(options)
    if left_out:
        print(
            f"attribute heads ({', '.join(left_out)}) were not exported: open_clip has no place "
            "for them"
        )
    print(
        f"written to {options.out}\n"
        f"fashret:   model.name=local-dir:{options.out} model.pretrained=null\n"
        f"open_clip: open_clip.create_model_and_transforms('local-dir:{options.out}')"
    )


if __name__ == "__main__":
    main()
