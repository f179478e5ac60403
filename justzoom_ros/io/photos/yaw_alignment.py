"""Headings from odometry that drifts: its track is laid on the true one, piece by piece."""

import math

import numpy as np

WINDOW_S = 20.0
"""Half of the time about a moment whose tracks are laid on each other: in it, odometry turns by
little, and a car comes far enough that errors of positions hardly turn the track."""

LEAST_STD_RAD = math.radians(1.0)
"""Cameras are mounted and clocks agree no better than this."""

LEAST_EXTENT_M = 5.0
"""A track whose points lie closer about their middle (root mean square) has no direction."""


def align_yaw(
    stamps_ns: np.ndarray, odometry_m: np.ndarray, truth_m: np.ndarray, position_std_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """How far the frame of some odometry is turned against east, at moments (N,) in order: angles
    and their standard deviations in radians, (N,) and (N,), NaN where the tracks (N, 2) come not
    far enough. The deviation is the angle that errors of `position_std_m` metres, and what the
    two tracks still differ by when they lie on each other, turn the track by, but at least
    LEAST_STD_RAD.

    The rotation that lays one track on the other best in least squares (Kabsch, 1976); in the
    plane it is the angle of one sum of complex numbers.
    """
    seconds = (np.asarray(stamps_ns, np.int64) - int(stamps_ns[0])) / 1e9
    odometry, truth = (np.asarray(m, float) @ [1.0, 1.0j] for m in (odometry_m, truth_m))
    first = np.searchsorted(seconds, seconds - WINDOW_S, 'left')
    last = np.searchsorted(seconds, seconds + WINDOW_S, 'right')
    angle, std = np.full(len(seconds), math.nan), np.full(len(seconds), math.nan)
    for index, (begin, end) in enumerate(zip(first, last, strict=True)):
        here, there = odometry[begin:end], truth[begin:end]
        here, there = here - here.mean(), there - there.mean()
        extent_m = math.sqrt(float(np.mean(np.abs(here) ** 2)))
        if extent_m >= LEAST_EXTENT_M:
            angle[index] = float(np.angle(np.sum(here.conj() * there)))
            left = there - here * np.exp(1j * angle[index])
            off_m = math.hypot(position_std_m, math.sqrt(float(np.mean(np.abs(left) ** 2))))
            std[index] = max(math.atan2(off_m, extent_m), LEAST_STD_RAD)
    return angle, std
