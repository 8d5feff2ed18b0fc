"""`fashret-demo`: a search page over a catalog."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("demo", demo)


def demo(cfg: DictConfig) -> None:
    """Serve one page until it is stopped."""
    import socket
    from contextlib import suppress

    import torch

    from fashret.errors import ConfigError
    from fashret.functional.imputation import impute_texts
    from fashret.pipelines.session import check_composed
    from fashret.pipelines.systems import System, judged_system

    try:
        import uvicorn

        from fashret.demo.search import Search, Shelf
        from fashret.demo.server import application
    except ModuleNotFoundError as e:
        raise ConfigError(f"fashret-demo needs {e.name}: pip install 'fashret[demo]'") from e

    check_composed(cfg, "demo")
    system = judged_system(cfg)
    setup, systems = system.setup, [system]
    if cfg.baseline is not None:
        systems.append(System.named(setup.cfg, setup, cfg.baseline))
    elif system.state is not None:
        systems.append(System.untrained(setup))
    rows = setup.rows(cfg.split)
    here = torch.from_numpy(rows)
    shelves = []
    for each in systems:
        stored, layout = each.embeddings, each.towers.layout
        image, text = (part[here].float().to(setup.device) for part in (stored.image, stored.text))
        shelves.append(Shelf(each.name, each.towers, image, impute_texts(image, text, layout)))
    search = Search(shelves, setup.table, setup.codes, rows, cfg.results)
    where = "" if cfg.split is None else f", {cfg.split}"
    app = application(search, f"{setup.source.name}{where}", cfg.host)
    try:
        bound = socket.create_server((cfg.host, cfg.port))
    except OSError as e:
        raise ConfigError(
            f"host={cfg.host} port={cfg.port} cannot be listened on: {e.strerror}; another port: "
            "port=0 takes a free one"
        ) from e
    print(
        f"{len(rows)} items: http://{cfg.host}:{bound.getsockname()[1]} (Ctrl+C ends it)",
        flush=True,
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    with suppress(KeyboardInterrupt):  # uvicorn has shut down, and hands the signal on
        server.run(sockets=[bound])


if __name__ == "__main__":
    main()
