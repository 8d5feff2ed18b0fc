"""Selection of a torch device by name."""

import torch

from fashret.errors import ConfigError


def pick_device(name: str | torch.device) -> torch.device:
    """Return the device of a name; `auto` takes a GPU if there is one.

    Args:
        name: auto, cpu, cuda, cuda:<number> or mps.

    Raises:
        ConfigError: the device is not available on this machine.
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
