"""Several cameras that look down at one moment, registered as one view.

What each of them sees is laid on the ground round the robot; together they are one template,
searched for as that of a single camera.
"""

from collections.abc import Sequence
from math import cos, sin

import numpy as np

from justzoom_ros.registration.map_features import MapFeatures
from justzoom_ros.registration.search import View
from justzoom_ros.registration.template import Templates


class RigView(View):
    """The pictures of a rig at one moment. Headings are those of its first camera.

    `views`: the `View` of each picture, all of one height, the first with what is known of the
    heading. `turns_rad`: yaw (radians, counter-clockwise) of each camera against the first.
    """

    def __init__(self, views: Sequence[View], turns_rad: Sequence[float]) -> None:
        first = views[0]
        super().__init__(
            first.network, first.image, first.camera, first.attitude, config=first.config
        )
        self.yaws_rad, self.yaw_step_rad = first.yaws_rad, first.yaw_step_rad
        self._members = list(zip(views, turns_rad, strict=True))

    def templates(self, number: int, map_features: MapFeatures) -> Templates:
        """As `View.templates`, of all pictures."""
        found = [
            view.turned_to(self.yaws_rad + turn_rad, self.yaw_step_rad).templates(
                number, map_features
            )
            for view, turn_rad in self._members
        ]
        return merge_templates(found, self.yaws_rad)

    def _lever_m(self, number: int, map_features: MapFeatures) -> tuple[float, float]:
        cell_m, levers, cells = map_features.cell_m / map_features.pooling, [], []
        for view, turn_rad in self._members:
            right, ahead = view._lever_m(number, map_features)
            c, s = cos(turn_rad), sin(turn_rad)
            levers.append((c * right - s * ahead, c * ahead + s * right))
            cells.append(int(view.features(number, cell_m)[1].sum()))
        right, ahead = np.average(levers, 0, cells)
        return float(right), float(ahead)


def merge_templates(parts: Sequence[Templates], yaws_rad: np.ndarray) -> Templates:
    """One `Templates` of those of several cameras at the same place, at headings (K,): where more
    than one of them sees a cell, the mean of what they see."""
    before = np.max([part.anchors.max(0) for part in parts], 0)
    behind = np.max([(part.weights.shape[1:] - part.anchors).max(0) for part in parts], 0)
    count, channels = parts[0].features.shape[:2]
    size = tuple((before + behind).tolist())
    features = parts[0].features.new_zeros((count, channels, *size))
    weights = features.new_zeros((count, *size))
    for part in parts:
        high, wide = part.weights.shape[1:]
        for k, (row, column) in enumerate((before - part.anchors).tolist()):
            rows, columns = slice(row, row + high), slice(column, column + wide)
            features[k, :, rows, columns] += part.features[k]
            weights[k, rows, columns] += part.weights[k]
    features /= weights.clamp(min=1)[:, None]
    anchors = np.tile(before, (count, 1))
    return Templates(features, weights.clamp(max=1), anchors, yaws_rad)
