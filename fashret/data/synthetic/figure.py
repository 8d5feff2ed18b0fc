"""The person who wears the garments: a pose, and the outlines of limbs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fashret.data.synthetic.canvas import Outline, Point


@dataclass
class Pose:
    """Where the limbs are, in body heights from the middle of the body."""

    left_arm: Sequence[Point]
    right_arm: Sequence[Point]
    stride: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Pose":
        """Arms hang, bend or stand off; legs close or astride."""
        arms = []
        for side in (-1.0, 1.0):
            upper = rng.uniform(0.12, 0.6)
            lower = upper + rng.uniform(-0.7, 0.35)
            shoulder = (side * 0.103, 0.205)
            elbow = (
                shoulder[0] + side * np.sin(upper) * 0.16,
                shoulder[1] + np.cos(upper) * 0.16,
            )
            wrist = (elbow[0] + side * np.sin(lower) * 0.15, elbow[1] + np.cos(lower) * 0.15)
            arms.append([shoulder, elbow, wrist])
        return cls(arms[0], arms[1], float(rng.uniform(0.0, 0.03)))

    @property
    def arms(self) -> list[Sequence[Point]]:
        """The joints of both arms."""
        return [self.left_arm, self.right_arm]

    def leg(self, side: float, length: float, width: float, end: float) -> Outline:
        """A leg's outline from the hip down to `length` of the way to the ankle."""
        bottom = 0.49 + 0.46 * length
        x = side * (0.052 + self.stride * length)
        hip, knee = 0.05, width + (end - width) * length
        return [
            (side * 0.052 - hip, 0.48),
            (side * 0.052 + hip, 0.48),
            (x + knee, bottom),
            (x - knee, bottom),
        ]


def limb(joints: Sequence[Point], start: float, end: float, length: float = 1.0) -> Outline:
    """A tapering outline along three joints, cut at `length` of the way."""
    path = [np.array(joint) for joint in joints]
    points = [path[0]]
    left = 2.0 * length
    for a, b in pairwise(path):
        points.append(a + (b - a) * min(1.0, left))
        left -= 1.0
        if left <= 0:
            break
    widths = np.linspace(start, start + (end - start) * length, len(points))
    sides: tuple[list[Point], list[Point]] = ([], [])
    for i, point in enumerate(points):
        ahead = points[min(i + 1, len(points) - 1)] - points[max(i - 1, 0)]
        normal = np.array([-ahead[1], ahead[0]]) / (np.hypot(*ahead) + 1e-9)
        for sign, outline in zip((1.0, -1.0), sides, strict=True):
            spot = point + sign * normal * widths[i]
            outline.append((float(spot[0]), float(spot[1])))
    return sides[0] + sides[1][::-1]
