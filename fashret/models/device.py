"""The device that a name stands for."""

import torch

from fashret.errors import ConfigError


def pick_device(name: str | torch.device) -> torch.device:
    """Return the device that a name stands for; `auto` takes a GPU where there is one.

    Args:
        name: auto, cpu, cuda, cuda:<number> or mps.

    Raises:
        ConfigError: there is no such device.
    """
    if str(name) == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as e:
        raise ConfigError(
            f"device={name} is not available on this machine: {str(e).splitlines()[0]}"
        ) from e
    return torch.device(name)
