"""`fashret doctor`: check that this installation can train, encode and search."""

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from fashret.cache import default_cache_dir
from fashret.version import __version__

_PACKAGES = (
    "torch", "open_clip_torch", "pytorch-lightning", "torchmetrics", "datasets", "hydra-core",
    "tensorboard",
)  # fmt: skip
_EXTRAS = {"demo": "uvicorn", "lora": "peft", "siglip": "transformers", "sweep": "joblib"}
_FEW_GIGABYTES = 5e9


def main() -> None:
    """The console command."""
    print(f"fashret {__version__}, Python {platform.python_version()}, {platform.platform()}")
    failed = 0
    for name, check in _CHECKS.items():
        try:
            finding, passed = check(), True
        except Exception as e:  # the other checks still run
            finding, passed = f"{type(e).__name__}: {e}", False
        print(f"{'ok  ' if passed else 'FAIL'}  {name}: {finding}")
        failed += not passed
    if failed:
        sys.exit(f"{failed} of {len(_CHECKS)} checks failed")


def _packages() -> str:
    versions = []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            raise RuntimeError(f"{name} is not installed: pip install fashret") from None
    return ", ".join(versions)


def _extras() -> str:
    parts = [f"{n} {'yes' if find_spec(module) else 'no'}" for n, module in _EXTRAS.items()]
    return ", ".join(parts) + " (pip install 'fashret[<name>]')"


def _device() -> str:
    import torch

    if not torch.cuda.is_available():
        return f"no GPU; {torch.get_num_threads()} threads on the CPU"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(names)


def _cache() -> str:
    folder = default_cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"fashret")
    free = shutil.disk_usage(folder).free
    if free < _FEW_GIGABYTES:
        raise RuntimeError(
            f"{folder} has {free / 1e9:.1f} GB left: set FASHRET_CACHE=<another folder>"
        )
    return f"{folder}, {free / 1e9:.0f} GB left"


def _model() -> str:
    from fashret.models.retriever import Retriever

    retriever = Retriever.load("tiny", device="cpu")
    encoded = retriever.encode_text(["a red dress"])
    return f"fashret-tiny encodes a text to {encoded.shape[1]} numbers"


_CHECKS: dict[str, Callable[[], str]] = {
    "packages": _packages,
    "extras": _extras,
    "device": _device,
    "cache": _cache,
    "model": _model,
}


if __name__ == "__main__":
    main()
