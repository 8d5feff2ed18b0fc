"""`fashret <command>`: the entry point of all commands. Light to import."""

import sys
from importlib import import_module

from fashret.version import __version__

COMMANDS = {
    "train": ("train", "train a model, and report improvements and regressions"),
    "evaluate": ("evaluate", "evaluate a run, a catalog or a model, or run a benchmark"),
    "compare": ("compare", "evaluate one run against another"),
    "catalog": ("build_catalog", "build a catalog: the embeddings of a data set"),
    "search": ("search", "find items by text, photo or both"),
    "demo": ("demo", "serve a search page"),
    "view": ("view", "inspect a prepared data set on a page, and correct it"),
    "export": ("export", "export a trained model for open_clip"),
    "cache": ("cache", "list or remove the entries of the cache"),
    "doctor": ("doctor", "check this installation"),
}
"""The commands by name: the module in `fashret.cli`, and the purpose."""


def main() -> None:
    """Run the command named by the first argument."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help", "help"):
        print(usage())
        return
    if name in ("-V", "--version"):
        print(f"fashret {__version__}")
        return
    if name not in COMMANDS:
        sys.exit(f"error: unknown command '{name}'{_nearest(name)}\n\n{usage()}")
    del sys.argv[1]
    import_module(f"fashret.cli.{COMMANDS[name][0]}").main()


def usage() -> str:
    """Return the usage message with the list of commands."""
    lines = [f"  {name:<9} {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: fashret <command> [options]",
            "",
            *lines,
            "",
            "fashret <command> --help shows its options. To try it without your own data:",
            "  fashret train trainer.max_epochs=2",
        ]
    )


def _nearest(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"; did you mean {near[0]}?" if near else ""


if __name__ == "__main__":
    main()
