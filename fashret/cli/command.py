"""Run a command under Hydra, with readable error messages. Light to import: no torch here."""

import functools
import json
import os
import re
import shlex
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fashret.cli.help import help_text
from fashret.cli.resumed_overrides import with_resumed_overrides
from fashret.cli.run_folder import remove_run_folder_if_empty, with_shared_run_folder
from fashret.cli.schema_overrides import with_schema_overrides
from fashret.config import config_dir, monitored_metric, nearest_key
from fashret.errors import FashretError, TrainingError
from fashret.names import nearest
from fashret.reports.sweep_table import FAILED
from fashret.version import __version__

_TRACE = "HYDRA_FULL_ERROR"

_WRONG_OPTION = re.compile(
    r"(?:In '[^']*': )?Could not (?:find|load) '(?P<group>[\w/]+)/(?P<option>[^'/]+)'"
)

INTERRUPTED = 130
"""The exit status after Ctrl+C: 128 and the number of SIGINT."""


def run(name: str, body: Callable[[DictConfig], Any]) -> None:
    """Compose `conf/<name>.yaml` with the command line, and run a command with it.

    A user's error is printed as one message, with exit status 1; HYDRA_FULL_ERROR=1 shows the stack
    trace. Ctrl+C exits with status 130.

    Args:
        name: the name of the configuration file.
        body: the command, a function of the configuration.
    """
    if "--version" in sys.argv[1:]:
        print(f"fashret {__version__}")
        return
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(help_text(name, arguments=sys.argv[1:], program=sys.argv[0]))
        return
    _silence_known_warnings()
    want_trace = os.environ.get(_TRACE) == "1"
    os.environ[_TRACE] = "1"  # makes Hydra raise errors instead of printing them
    try:
        arguments, notes = with_schema_overrides(with_resumed_overrides(sys.argv[1:]))
        for note in notes:
            print(note, file=sys.stderr)
        sys.argv[1:] = with_shared_run_folder(arguments, name)
        main = hydra.main(version_base="1.3", config_path=config_dir(), config_name=name)
        with remove_run_folder_if_empty():
            main(_with_readable_errors(body, want_trace))()
    except FashretError as e:
        if want_trace:
            raise
        sys.exit(f"error: {e}")
    except (HydraException, OmegaConfBaseException) as e:
        if want_trace:
            raise
        sys.exit(f"error: {explain(e, name)}")
    except ValueError as e:  # Hydra's own, for a group that is null
        if want_trace or "Config group override must be" not in str(e):
            raise
        given = ", ".join(a for a in sys.argv[1:] if re.fullmatch(r"[\w/@.]+=(null|None)?", a))
        sys.exit(f"error: {given}: a group needs one of its options (--help lists them)")
    except KeyboardInterrupt:
        if want_trace:
            raise
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        if not want_trace:
            os.environ.pop(_TRACE, None)


def _with_readable_errors(
    body: Callable[[DictConfig], Any], want_trace: bool
) -> Callable[[DictConfig], Any]:
    """Wrap a command so that errors are printed as messages, and a failed job ends no sweep.

    A failed job returns 0, the worst value of every metric; the error is in its `failed.txt`.
    """

    @functools.wraps(body)
    def job(cfg: DictConfig) -> Any:
        if not want_trace:  # not for child processes either
            os.environ.pop(_TRACE, None)
        alone = HydraConfig.get().mode is not RunMode.MULTIRUN
        try:
            return _run_alone(body, cfg, want_trace) if alone else _run_in_sweep(body, cfg)
        except (KeyboardInterrupt, SystemExit) as e:
            stopped = any(isinstance(x, KeyboardInterrupt) for x in (e, e.__context__))
            if want_trace or not stopped:  # Lightning calls sys.exit(1) within the handler
                raise
            if int(os.environ.get("LOCAL_RANK", "0")) == 0:
                print(_interrupted(HydraConfig.get()), file=sys.stderr)
            raise SystemExit(INTERRUPTED) from None

    return job


def _run_alone(body: Callable[[DictConfig], Any], cfg: DictConfig, want_trace: bool) -> Any:
    """Run a command that is not a job of a sweep."""
    try:
        return body(cfg)
    except FashretError as e:
        if want_trace:
            raise
        raise SystemExit(f"error: {e}") from None
    except Exception:
        os.environ[_TRACE] = "1"  # a bug is shown with its stack trace
        raise


def _run_in_sweep(body: Callable[[DictConfig], Any], cfg: DictConfig) -> Any:
    """Run a job of a sweep; return 0 if it fails."""
    _silence_known_warnings()  # a launcher's process starts here
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / FAILED).unlink(missing_ok=True)
    try:
        return run_in_subprocess(cfg, folder) if _has_several(cfg) else body(cfg)
    except Exception as e:  # whatever it is, the other jobs can still run
        (folder / FAILED).write_text(f"{e}\n\n{traceback.format_exc()}")
        print(f"job {HydraConfig.get().job.num} failed: {e}", file=sys.stderr)
        return 0.0


def _interrupted(current: HydraConf) -> str:
    """The message of an interrupted command: how to resume, if it trained."""
    if current.job.config_name != "train":
        return "interrupted"
    folder = Path(current.runtime.output_dir)
    if not (folder / "checkpoints" / "last.ckpt").exists():
        return "interrupted before the first epoch ended: no checkpoint was saved"
    if folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    program = Path(sys.argv[0]).name
    command = ["fashret", "train"] if program == "fashret" else [program]
    command = [*(["python"] if program.endswith(".py") else []), *command, f"resume={folder}"]
    return f"interrupted; to resume after the last finished epoch: {shlex.join(command)}"


def run_in_subprocess(cfg: DictConfig, folder: Path) -> float | None:
    """Run a job of a sweep as a subprocess, which can start several processes itself.

    Failures of these processes, killed ones too, then fail the job alone.

    Args:
        cfg: the configuration of the job.
        folder: the folder of the job.

    Returns:
        The monitored metric from the job's results; None if it left none.

    Raises:
        TrainingError: the command failed.
    """
    current = HydraConfig.get()
    name = str(current.job.config_name)
    command = [sys.executable, "-m", f"fashret.cli.{name}"]
    for source in current.runtime.config_sources:
        if source.provider == "command-line":
            command += ["--config-dir", source.path]
    command += [*map(str, current.overrides.task), f'hydra.run.dir="{folder}"']
    package = str(Path(__file__).parents[2])  # a checkout may be run without being installed
    paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    stderr = b""
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths}
    ) as process:
        assert process.stderr is not None
        while part := os.read(process.stderr.fileno(), 65536):
            sys.stderr.write(part.decode(errors="replace"))
            stderr = (stderr + part)[-65536:]
    if process.returncode:
        lines = stderr.decode(errors="replace").strip().splitlines() or ["no error message"]
        errors = [line for line in lines if line.startswith("error: ")] or lines[-1:]
        raise TrainingError(
            f"{errors[0].removeprefix('error: ')} (exit status {process.returncode})"
        )
    results = folder / "metrics.json"
    if name != "train" or not results.is_file():
        return None
    return json.loads(results.read_text())["metrics"][monitored_metric(cfg)]["value"] or 0.0


def _has_several(cfg: DictConfig) -> bool:
    """Whether a job starts several processes."""
    if "trainer" not in cfg:
        return False
    from fashret.cli.options import process_options

    return process_options(cfg).several


def _silence_known_warnings() -> None:
    """Silence warnings that users cannot act on, and progress bars in a file or a pipe.

    The warnings are those of torch 2.14 and later about Lightning 2.6.
    """
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    for text in ("treespec, LeafSpec", "nn.functional.all_gather is deprecated"):
        warnings.filterwarnings("ignore", message=f".*{text}.*")


def explain(error: Exception, name: str) -> str:
    """Hydra's message, with the nearest existing name for a key that does not exist."""
    message = str(error).strip()
    if isinstance(error, OverrideParseException):
        message = f"{error.override}: {message.splitlines()[0]}"
    if plugin := re.match(
        r"In '([\w/]+)': Could not load '(?:[\w/]*)(joblib|submitit|optuna)", message
    ):
        option = "=".join(plugin[1].rsplit("/", 1))
        return f'{option} needs another package ({plugin[2]}): pip install "fashret[sweep]"'
    if wrong := _WRONG_OPTION.match(message):
        return _explain_option(wrong["group"], wrong["option"], message)
    cause = error.__cause__
    key = getattr(cause, "full_key", None)
    if isinstance(cause, OmegaConfBaseException) and key and "is not in struct" in str(cause):
        hint = nearest_key(str(key), _reference(name))
        return f"{key}: there is no such key; {hint}"
    return message if cause is None or not str(cause) else f"{message}\n{cause}"


def _explain_option(group: str, option: str, message: str) -> str:
    """Suggest an option in place of one that does not exist.

    A base that options share was once listed beside them; users' files may still name it.
    """
    if (Path(config_dir()) / group / "base" / f"{option}.yaml").is_file():
        return (
            f"{group}={option}: {option} is a base that options share, not an option; choose an "
            f"option (--help lists them). In your own files write base/{option}@_here_ in place "
            f"of {option} in the defaults"
        )
    options = [line.strip() for line in message.splitlines() if line.startswith("\t")]
    options = [name for name in options if not name.startswith("provider=")]
    return f"{group}={option}: there is no such option; {nearest(option, options)}"


def _reference(name: str) -> DictConfig:
    """The command's configuration without overrides."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        return compose(name)
