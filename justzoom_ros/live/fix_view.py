"""A `Fix` and its picture as a page shows them: for the live page and for reports."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from justzoom_ros.inference.fix import Fix
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.plots.motion import belief_picture
from justzoom_ros.region import Region
from justzoom_ros.report.content import FrameView, Heat
from justzoom_ros.report.pictures import belief_heat, heat, thumbnail, uri

if TYPE_CHECKING:
    from justzoom_ros.registration.likelihood import (
        PoseLikelihood,
    )  # not for who only looks: torch

LOG_RATIOS = (-4.0, 10.0)
"""Log likelihood ratios beyond these are not told apart: so much is certainty."""

MAX_HYPOTHESES = 12
"""As many as a page shows of a frame."""

Evidence: TypeAlias = 'PoseLikelihood | CellPosterior | None'
"""What a picture says by itself, as `Localizer.take_evidence` gives it."""


def fix_view(name: str, fix: Fix, image_rgb: np.ndarray | None, evidence: Evidence) -> FrameView:
    """The `FrameView` of a fix by the picture uint8 (H, W, 3) RGB, named `name`. Its belief is
    left out; see `with_belief`. Evidence that is the whole belief is not shown twice."""
    evidence = None if evidence is fix.posterior else evidence
    covariance = np.asarray(fix.covariance_m2, float)
    hypotheses = fix.hypotheses[:MAX_HYPOTHESES]
    return FrameView(
        name=name,
        status=str(fix.status),
        reason=fix.reason,
        position=(fix.east_m, fix.north_m),
        covariance=(covariance[0, 0], covariance[0, 1], covariance[1, 1]),
        radius_m=fix.radius_90_m,
        confidence=fix.confidence,
        yaw_rad=fix.yaw_rad,
        latlon=(fix.latitude, fix.longitude),
        hypotheses=[(one.east_m, one.north_m, one.mass) for one in hypotheses],
        image=uri(thumbnail(image_rgb), 'webp') if image_rgb is not None else '',
        evidence=evidence_heat(evidence, fix.map_offset_m),
    )


def with_belief(view: FrameView, fix: Fix, region: Region) -> FrameView:
    """The view with the posterior of its fix, where it has one."""
    if fix.posterior is None:
        return view
    fine = fix.posterior
    posterior = fine if fine.region == region else fine.coarsen(region)
    picture = belief_picture(posterior.to_grid())
    return replace(view, belief=belief_heat(picture, region.side_m, fix.map_offset_m))


def evidence_heat(evidence: Evidence, offset_m: tuple[float, float] = (0.0, 0.0)) -> Heat | None:
    """What a picture says by itself as a `Heat`, on a map that is off by `offset_m`."""
    if evidence is None:
        return None
    grid = evidence_grid(evidence)
    west_m, north_m = grid.west_m + offset_m[0], grid.north_m + offset_m[1]
    return heat(grid.strengths, west_m, north_m, grid.cell_m)


@dataclass(frozen=True)
class StrengthGrid:
    """How strongly a picture speaks for each place."""

    strengths: np.ndarray
    """uint8 (n, m), row 0 in the north, column 0 in the west."""

    west_m: float
    """West border, metres east of the region's centre."""

    north_m: float
    """North border, metres north of the region's centre."""

    cell_m: float
    """Side of a cell."""


def evidence_grid(evidence: 'PoseLikelihood | CellPosterior') -> StrengthGrid:
    """What a picture says by itself: of each place the ratio of its best heading, 0 from the least
    of LOG_RATIOS down and where nobody looked, 255 from the greatest up; or the masses of a
    policy, as `belief_picture` has them."""
    if isinstance(evidence, CellPosterior):
        picture, side_m = belief_picture(evidence.to_grid()), evidence.region.side_m
        return StrengthGrid(picture, -side_m / 2, side_m / 2, side_m / len(picture))
    low, high = LOG_RATIOS
    best = evidence.log_ratio.amax(0).clamp(low, high)
    strengths = (255 * (best - low) / (high - low)).round().byte().cpu().numpy()
    return StrengthGrid(strengths, evidence.west_m, evidence.north_m, evidence.cell_m)
