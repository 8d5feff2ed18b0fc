"""`fashret demo`: a search page over a catalog."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("demo", demo)


def demo(cfg: DictConfig) -> None:
    """Serve one page until it is stopped."""
    import socket
    from contextlib import suppress

    from fashret.cli.compose import Composed, evaluate_options
    from fashret.errors import ConfigError
    from fashret.pipelines.demo import search_of

    try:
        import uvicorn

        from fashret.demo.server import application
    except ModuleNotFoundError as e:
        raise ConfigError(f"fashret-demo needs {e.name}: pip install 'fashret[demo]'") from e

    composed = Composed.checked(cfg, "demo")
    options = evaluate_options(composed)
    search = search_of(options, results=cfg.results)
    where = "" if cfg.split is None else f", {cfg.split}"
    app = application(search, f"{options.session.source.name}{where}", cfg.host)
    try:
        bound = socket.create_server((cfg.host, cfg.port))
    except OSError as e:
        raise ConfigError(
            f"host={cfg.host} port={cfg.port} cannot be listened on: {e.strerror}; another port: "
            "port=0 takes a free one"
        ) from e
    print(
        f"{len(search.rows)} items: http://{cfg.host}:{bound.getsockname()[1]} (Ctrl+C ends it)",
        flush=True,
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    with suppress(KeyboardInterrupt):  # uvicorn has shut down, and hands the signal on
        server.run(sockets=[bound])


if __name__ == "__main__":
    main()
