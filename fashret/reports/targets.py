"""What a run is asked for."""

from dataclasses import dataclass

from fashret.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Target:
    """A metric that should rise, or must not fall.

    Args:
        metric: a key without its split, such as `image/neckline/precision@10`, with `[<value>]`
            or `[macro]` behind it for a slice.
        rise: by how much, between 0 and 1 (0.05 is 5 points); null: it must not fall.
    """

    metric: str
    rise: float | None

    def __post_init__(self) -> None:
        if self.rise is not None and not 0.0 < self.rise <= 1.0:
            raise ConfigError(
                f"targets: {self.metric} is asked to rise by {self.rise}; it takes a share above 0 "
                "(0.05 is 5 points), or null for what must not fall"
            )
