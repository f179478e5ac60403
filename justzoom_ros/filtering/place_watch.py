"""For how long a robot has been sure of one place, in metres of its way.

    watch = PlaceWatch()
    watch.move(distance_m)                # before each frame
    watch.see(place_m)                    # where a frame leaves it sure: since so many metres

A robot that was found in the wrong place is sure of it until the next look at the whole map.
"""

import math

import numpy as np

JUMP_M = 25.0
"""A place is another one where it is further from the last than the robot has gone, and this."""

FORGET_M = 50.0
"""After so long a way of not being sure it begins anew."""


class PlaceWatch:
    """Distances since a robot has been sure of the place that it follows."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nothing is known."""
        self._place_m: np.ndarray | None = None
        self._sure_m = self._moved_m = 0.0

    def trust(self) -> None:
        """The place was told: the next that is seen is held for certain."""
        self.reset()
        self._sure_m = math.inf

    def move(self, distance_m: float) -> None:
        """The robot has gone on."""
        self._moved_m += distance_m

    def see(self, place_m: np.ndarray) -> float:
        """The robot is sure of a place (2,), metres east and north; for how many metres it has
        been."""
        if self._place_m is not None:
            jumped_m = float(np.hypot(*(place_m - self._place_m))) - self._moved_m
            forgotten = self._moved_m > FORGET_M
            self._sure_m = 0.0 if jumped_m > JUMP_M or forgotten else self._sure_m + self._moved_m
        self._place_m, self._moved_m = np.asarray(place_m, float), 0.0
        return self._sure_m
