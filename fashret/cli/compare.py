"""`fashret compare`: evaluate one run against another on the same queries."""

import sys

from fashret.cli import evaluate

_USAGE = """usage: fashret compare <run> <other run> [overrides]

Evaluates the first run (or catalog folder) against the second on the same queries, with paired
intervals and a verdict for every metric. Overrides are those of fashret evaluate:
  fashret compare outputs/train/b outputs/train/a
  fashret compare outputs/train/b outputs/train/a protocol=keyword gallery=true"""


def main() -> None:
    """The console command."""
    arguments = sys.argv[1:]
    if len(arguments) < 2 or arguments[0] in ("-h", "--help") or "=" in arguments[1]:
        if arguments[:1] in (["-h"], ["--help"]):
            print(_USAGE)
            return
        sys.exit(f"error: fashret compare needs two runs\n\n{_USAGE}")
    from fashret.cli.resumed_overrides import quoted

    run, other, *overrides = arguments
    sys.argv[1:] = [f"run={quoted(run)}", f"baseline={quoted(other)}", *overrides]
    evaluate.main()


if __name__ == "__main__":
    main()
