"""`fashret <command>`: one entry point for everything. Light to import."""

import sys
from importlib import import_module

from fashret.version import __version__

COMMANDS = {
    "train": ("train", "train a model, and show what improved and what regressed"),
    "evaluate": ("evaluate", "evaluate a run, a catalog or a model, or run a benchmark"),
    "compare": ("compare", "evaluate one run against another"),
    "catalog": ("build_catalog", "write the embeddings of a data set"),
    "search": ("search", "find items by text, photo or both"),
    "demo": ("demo", "serve a search page"),
    "view": ("view", "look at a prepared data set on a page, and correct it"),
    "export": ("export", "write a trained model for open_clip"),
    "cache": ("cache", "show what the cache holds, and remove it"),
    "doctor": ("doctor", "check this installation"),
}
"""By name: the module in `fashret.cli`, and what the command does."""


def main() -> None:
    """Run the command that is named."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help", "help"):
        print(usage())
        return
    if name in ("-V", "--version"):
        print(f"fashret {__version__}")
        return
    if name not in COMMANDS:
        sys.exit(f"error: fashret has no command '{name}'{_nearest(name)}\n\n{usage()}")
    del sys.argv[1]
    import_module(f"fashret.cli.{COMMANDS[name][0]}").main()


def usage() -> str:
    """Return the list of commands."""
    lines = [f"  {name:<9} {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: fashret <command> [options]",
            "",
            *lines,
            "",
            "fashret <command> --help says more. Without any data of your own:",
            "  fashret train trainer.max_epochs=2",
        ]
    )


def _nearest(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"; did you mean {near[0]}?" if near else ""


if __name__ == "__main__":
    main()
