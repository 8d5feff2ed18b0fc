"""`fashret demo`: serve a search page over the items of a data set."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("demo", demo)


def demo(cfg: DictConfig) -> None:
    """Serve the search page until Ctrl+C."""
    import socket
    from contextlib import suppress

    from fashret.cli.options import Composed, evaluate_options
    from fashret.errors import ConfigError
    from fashret.pipelines.demo import demo_search

    try:
        import uvicorn

        from fashret.demo.server import application
    except ModuleNotFoundError as e:
        raise ConfigError(f"fashret-demo needs {e.name}: pip install 'fashret[demo]'") from e

    composed = Composed.checked(cfg, "demo")
    options = evaluate_options(composed)
    search = demo_search(options, results=cfg.results)
    where = "" if cfg.split is None else f", {cfg.split}"
    app = application(search, f"{options.session.source.name}{where}", cfg.host)
    try:
        bound = socket.create_server((cfg.host, cfg.port))
    except OSError as e:
        raise ConfigError(
            f"cannot listen on host={cfg.host} port={cfg.port}: {e.strerror}; port=0 chooses a "
            "free port"
        ) from e
    print(
        f"{len(search.rows)} items: http://{cfg.host}:{bound.getsockname()[1]} (Ctrl+C ends it)",
        flush=True,
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    with suppress(KeyboardInterrupt):  # raised again by uvicorn after its shutdown
        server.run(sockets=[bound])


if __name__ == "__main__":
    main()
