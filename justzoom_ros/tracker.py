"""Frames and odometry in, fixes out: a `Localizer` for a robot that moves.

tracker = Tracker(localizer)
tracker.add_odometry(Pose(stamp_ns, x_m, y_m, yaw_rad))       # whenever it comes
fix = tracker.locate(image_rgb, stamp_ns)
fix.latitude, fix.longitude, fix.covariance_m2, fix.yaw_rad, fix.status

Each frame is a likelihood for a filter that odometry carries along. Registration weighs places
and headings in a `PoseFilter`, looking only where the belief has mass: a robot that knows where
it is needs little work per frame. A policy alone weighs cells in a `HistogramFilter`; what its
search does not expand keeps the mass that the policy gives it. Frames that contradict the belief
are noticed, and the search opens again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import numpy as np

from justzoom_ros.filtering import (
    HistogramFilterConfig,
    Motion,
    MotionNoise,
    Odometry,
    OdometryConfig,
    PoseFilter,
    PoseFilterConfig,
    make_filter,
)
from justzoom_ros.filtering.height_ratio import HeightRatio, HeightRatioConfig
from justzoom_ros.filtering.noise_adaptation import AdaptationConfig, NoiseAdaptation
from justzoom_ros.filtering.place_watch import PlaceWatch
from justzoom_ros.filtering.search_area import SearchArea
from justzoom_ros.inference.fix import (
    Fix,
    FixCriteria,
    FixStatus,
    circular_std_rad,
    make_fix_from_modes,
    scale_covariance,
    widen,
)
from justzoom_ros.inference.image_quality import images_fault
from justzoom_ros.inference.multi_view import Mount, fuse_posteriors, overlap_weights
from justzoom_ros.inference.posterior import CellPosterior, radius_m
from justzoom_ros.localizer import Localizer
from justzoom_ros.pose import Pose
from justzoom_ros.ranges import check_ranges, ranged
from justzoom_ros.registrar import Registrar
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.camera_state import CameraState
from justzoom_ros.registration.likelihood import PoseLikelihood
from justzoom_ros.registration.search import View

REGISTERED_EXPONENT = 1.0
"""Of registered frames where nothing was fitted: views 16 m apart err independently
(docs/calibration.md), and a root of their peaks flattens what sets one place apart."""

FOUND_MASS = 0.5
"""Mass in fine windows from which on a robot counts as found."""

FITS_M = 15.0
"""A frame fits where a robot is if the best place that it tells of is no further away."""

WHOLE_LOOK_M = 50.0
"""Where one view tells places badly apart, a robot that counts as found looks at the whole map
after this distance: it may have been found in the wrong place. No fix is given before it was sure
of one place for as long: such a look lies in between, and most wrong places do not outlast it."""


@dataclass(frozen=True)
class TrackerConfig:
    """How a belief follows a robot. Raises ConfigError for values out of range."""

    filter: HistogramFilterConfig = field(default_factory=HistogramFilterConfig)
    """Headings, cells and outliers of the belief, where a policy answers alone."""

    pose_filter: PoseFilterConfig = field(default_factory=PoseFilterConfig)
    """The belief where pictures are registered."""

    noise: MotionNoise = field(default_factory=MotionNoise)
    """How far odometry can be wrong."""

    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    """How that follows what registered frames say of it."""

    adapt_unregistered: bool = False
    """Whether it follows frames that a policy answers alone, too. What weights hold of these was
    fitted without."""

    height_ratio: HeightRatioConfig = field(default_factory=HeightRatioConfig)
    """How the true height above ground changes against what is told, where cameras look down."""

    odometry: OdometryConfig = field(default_factory=OdometryConfig)
    """Which samples of the odometry are believed."""

    likelihood_exponent: float | None = ranged(None, above=0, at_most=1)
    """Power (0..1] of each frame's likelihood; the one that the weights hold unless given."""

    decorrelation_distance_m: float = ranged(20.0, above=0)
    """Distance in metres after which a frame is a whole new observation; before, it counts in
    proportion."""

    decorrelation_angle_rad: float = ranged(1.0, above=0)
    """Turn in radians after which a frame is a whole new observation."""

    heading_decorrelation_m: float = ranged(100.0, above=0)
    """Distance in metres after which a measured heading is a whole new observation."""

    unexplored_mass: float = ranged(1e-3, at_least=0, below=1)
    """Mass of the belief (0..1) that a search may leave unexpanded."""

    def __post_init__(self) -> None:
        check_ranges(self)


class Tracker:
    """The belief of one robot. From one thread at a time."""

    def __init__(self, localizer: Localizer, config: TrackerConfig | None = None) -> None:
        self.localizer, self.config = localizer, config or TrackerConfig()
        registered = localizer.registrar is not None
        filter_config = self.config.pose_filter if registered else self.config.filter
        self.belief = make_filter(localizer.region, localizer.covered, filter_config)
        calibration = localizer.calibration
        fitted = calibration.likelihood_exponent
        if registered and not calibration.exponent_sequences:
            fitted = REGISTERED_EXPONENT
        self.likelihood_exponent = self.config.likelihood_exponent or fitted
        self.covariance_scale = calibration.covariance_scale
        self.covariance_floor_m = calibration.covariance_floor_m
        self.promise = calibration.promise('tracking')
        self.odometry = Odometry(self.config.odometry)
        self.adaptation = NoiseAdaptation(self.config.adaptation)
        self.place_watch = PlaceWatch()
        self.height_ratio = HeightRatio(self.config.height_ratio)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the robot may be anywhere on the map."""
        self.belief.start()
        self._begin()

    def start_near(
        self,
        latitude: float,
        longitude: float,
        covariance_m2: np.ndarray,
        yaw_rad: float | None = None,
        yaw_std_rad: float = 0.0,
    ) -> None:
        """Begin anew round a position in degrees, covariance (2, 2) in m2, ENU. Raises ConfigError
        where that is nowhere near the map."""
        offset = self.localizer.map_offset
        mean_m = self.localizer.region.to_enu(latitude, longitude) - offset.mean_m
        covariance_m2 = covariance_m2 + offset.covariance_m2
        self.belief.start_near(mean_m, covariance_m2, yaw_rad, yaw_std_rad)
        self._begin()
        self.place_watch.trust()

    def _begin(self) -> None:
        # The odometry goes on: what it measured before says how the robot moves from now on.
        self.motion, self._novelty = Motion(), 1.0
        self._heading: tuple[float, float] | None = None
        self._stamp_ns: int | None = None
        self._since_heading_m: float | None = None
        self._tilt_std_m, self._since_whole_m = 0.0, 0.0
        self.adaptation.reset()
        self.place_watch.reset()
        self.height_ratio.forget()

    def add_odometry(self, pose: Pose) -> str:
        """Take a `Pose` of the odometry; returns what was wrong with it, '' where nothing was."""
        return self.odometry.add(pose)

    def add_heading(self, yaw_rad: float, std_rad: float) -> None:
        """A measured heading, counter-clockwise from east; it counts with the next frame."""
        self._heading = yaw_rad, std_rad

    def locate(
        self,
        images_rgb: np.ndarray | Sequence[np.ndarray],
        stamp_ns: int,
        mounts: Sequence[Mount] | None = None,
        criteria: FixCriteria | None = None,
        state: CameraState | None = None,
    ) -> Fix:
        """The `Fix` at the time of an image, uint8 (H, W, 3) RGB, or of those of a rig with their
        `Mount`s. `state`: what is known of the camera, for registration; that of the localizer
        unless given. Stamps must ascend. Raises ImageError, ConfigError; the robot has moved on
        all the same."""
        return self.locate_after(self._motion_to(stamp_ns), images_rgb, mounts, criteria, state)

    def pass_by(self, stamp_ns: int, criteria: FixCriteria | None = None) -> Fix:
        """The `Fix` at the time of an image that cannot be looked at: by odometry alone."""
        self.predict(self._motion_to(stamp_ns))
        self._update_heading()
        return self.fix(criteria)

    def _motion_to(self, stamp_ns: int) -> Motion:
        """How the robot has moved since the image before."""
        motion = Motion()
        if self._stamp_ns is not None:
            motion = self.odometry.motion(self._stamp_ns, stamp_ns)
        self._stamp_ns = stamp_ns
        return motion

    def locate_after(
        self,
        motion: Motion,
        images_rgb: np.ndarray | Sequence[np.ndarray],
        mounts: Sequence[Mount] | None = None,
        criteria: FixCriteria | None = None,
        state: CameraState | None = None,
    ) -> Fix:
        """As `locate`, after a `Motion` that is known already."""
        self.predict(motion)
        self._update_heading()
        images = cast('Sequence[np.ndarray]', images_rgb if mounts else [images_rgb])
        fault = images_fault(images)
        if fault is None:
            self._look(images, mounts, state or CameraState())
        fix = self.fix(criteria)
        # Odometry may know the place of a robot that sees nothing, but not why it sees nothing.
        return replace(fix, reason=str(fault)) if fault and fix.reason else fix

    def _look(
        self, images: Sequence[np.ndarray], mounts: Sequence[Mount] | None, state: CameraState
    ) -> None:
        """Weigh the belief by what the images show."""
        belief, registrar = self.belief, self.localizer.registrar
        if not isinstance(belief, PoseFilter) or registrar is None:
            return self.update(self._posterior(images, mounts))
        if registrar.whole_frames and belief.window_mass < FOUND_MASS and self._novelty < 1:
            return None
        if self.localizer.zoom and not belief.window_mass:
            belief.update(
                self._posterior(images, mounts),
                self.likelihood_exponent,
                min(1.0, self._novelty),
            )
        told = state.camera or self.localizer.camera
        camera = self.height_ratio.narrow(told) if told else None
        view = self.localizer.view(images, replace(state, camera=camera), mounts)
        self._tilt_std_m = view.tilt_std_m
        area = self._area_to_search(belief, registrar)
        likelihood = registrar.likelihood_in(view, area, state.mount_yaw_rad)
        may_gain = not registrar.whole_frames or area.is_whole(self.localizer.region.side_m)
        self._weigh(partial(belief.update_poses, may_gain=may_gain), likelihood)
        if told and likelihood.scale is not None:
            self._learn_height(told, view, likelihood)

    def _learn_height(self, told: Camera, view: View, likelihood: PoseLikelihood) -> None:
        """What height a frame tells of that fits where the robot is; of any other, that no height
        is known: the right one may have been left out."""
        place, (east_m, north_m, number) = self.belief.clear_moments(), likelihood.best_place()
        if place and np.hypot(*(place.mean_m - (east_m, north_m))) <= FITS_M:
            heights_m = [candidate.height_m for candidate in view.candidates]
            self.height_ratio.learn(told, heights_m, number)
        else:
            self.height_ratio.forget()

    def _area_to_search(self, belief: PoseFilter, registrar: Registrar) -> SearchArea:
        """Where the belief has mass; now and then the whole map, for a frame that counts whole."""
        if registrar.whole_frames and self._since_whole_m >= WHOLE_LOOK_M:
            self._novelty, self._since_whole_m = 1.0, 0.0  # places afar have had no frame since
            return belief.whole_area()
        area = belief.search_area(self.config.unexplored_mass)
        if area.is_whole(self.localizer.region.side_m):
            self._since_whole_m = 0.0
        return area

    def _posterior(
        self, images: Sequence[np.ndarray], mounts: Sequence[Mount] | None
    ) -> CellPosterior:
        expand_mask = self.expand_mask()
        posteriors = [self.localizer.posterior(image, expand_mask=expand_mask) for image in images]
        return fuse_posteriors(posteriors, overlap_weights(mounts) if mounts else None)

    def predict(self, motion: Motion) -> None:
        """Move without looking."""
        self.motion, config = motion, self.config
        self.belief.predict(motion, self.noise)
        moved_m = motion.distance_m + config.noise.unknown_m_s * motion.unknown_s
        if self._since_heading_m is not None:
            self._since_heading_m += moved_m
        self.height_ratio.move(moved_m)
        self._novelty += moved_m / config.decorrelation_distance_m
        self._since_whole_m += moved_m
        self.place_watch.move(moved_m)
        self._novelty += abs(motion.turn_rad) / config.decorrelation_angle_rad

    @property
    def noise(self) -> MotionNoise:
        """How far odometry is wrong, by all that frames said of it."""
        return self.adaptation.apply(self.config.noise)

    def _update_heading(self) -> None:
        if self._heading is None:
            return
        # Its error hardly changes: the first measurement counts in full, further ones slowly.
        novelty = 1.0
        if self._since_heading_m is not None:
            novelty = min(1.0, self._since_heading_m / self.config.heading_decorrelation_m)
        self.belief.update_heading(*self._heading, novelty)
        self._heading, self._since_heading_m = None, 0.0

    def update(self, posterior: CellPosterior) -> None:
        """Weigh the belief by the `CellPosterior` of one frame."""
        self._weigh(self.belief.update, posterior)

    def update_poses(self, likelihood: PoseLikelihood) -> None:
        """Weigh the belief by the `PoseLikelihood` of one frame, at headings of the robot."""
        self._weigh(self.belief.update_poses, likelihood)

    def _weigh(self, update: Callable[[Any, float, float], None], frame: Any) -> None:
        """Weigh the belief by a frame, and learn from it how wrong the odometry is."""
        adapts = self.localizer.registrar is not None or self.config.adapt_unregistered
        before = self.belief.clear_moments() if adapts else None
        update(frame, self.likelihood_exponent, min(1.0, self._novelty))
        self._novelty = 0.0
        after = self.belief.clear_moments() if before else None
        if before and after and self.motion.distance_m > 0:
            self.adaptation.learn(before, after)

    def fix(self, criteria: FixCriteria | None = None) -> Fix:
        """The `Fix` of the belief as it stands, by the map's offset where it truly is. Confidence
        and masses are of everything, off the map included; the first hypothesis is exact to less
        than a cell."""
        return self.localizer.correct(self.fix_on_map(criteria), criteria)

    def fix_on_map(self, criteria: FixCriteria | None = None) -> Fix:
        """As `fix`, where the map says that it is."""
        belief = self.belief
        posterior = belief.posterior()
        first, *others = [mode.scaled(1 - belief.off_map) for mode in posterior.modes()]
        mean, covariance, yaw, length = belief.moments(first.indices)
        first = replace(first, mean_m=mean, covariance_m2=covariance)
        criteria = self._criteria(criteria)
        modes, off_map = (first, *others), belief.off_map
        fix = make_fix_from_modes(posterior, modes, criteria, off_map, belief.points())
        east, north = map(float, belief.heading_cross(first.indices))
        fix = replace(
            fix,
            yaw_rad=yaw,
            yaw_std_rad=circular_std_rad(length),
            heading_cross_m_rad=(east, north),
        )
        if fix.status is FixStatus.NO_FIX:
            return fix
        if unconfirmed := self._unconfirmed(fix):
            covariance = posterior.covariance_m2  # of everything, as where there is no fix
            radius = radius_m(covariance)
            return replace(
                fix, status=FixStatus.NO_FIX, reason=unconfirmed,
                covariance_m2=covariance, radius_90_m=radius,
            )  # fmt: skip
        # Frames of one flight lean alike, and what the sun of the day moves it moves for all: the
        # belief cannot average an unknown tilt away, nor what calibration found to be shared.
        shared_m = float(np.hypot(self._tilt_std_m, self.covariance_floor_m))
        return widen(scale_covariance(fix, self.covariance_scale), shared_m, criteria)

    def _unconfirmed(self, fix: Fix) -> str:
        """Why a robot that is sure may still be in the wrong place, '' where it hardly is."""
        registrar = self.localizer.registrar
        sure_m = self.place_watch.see(np.array([fix.east_m, fix.north_m]))
        if registrar is None or not registrar.whole_frames or sure_m >= WHOLE_LOOK_M:
            return ''
        return (
            f'not confirmed: sure of this place for {sure_m:.0f} m, less than {WHOLE_LOOK_M:g} m'
        )

    def _criteria(self, criteria: FixCriteria | None) -> FixCriteria:
        """The criteria, no laxer than the gate of what is promised."""
        gate = self.promise.min_confidence if self.promise else 0.0
        return (criteria or self.localizer.criteria).at_least(gate)

    def expand_mask(self) -> list[np.ndarray]:
        """For each level 0 .. depth - 1 which cells a search shall expand: flags (cells,)."""
        region = self.localizer.region
        masses = self.belief.posterior().masses
        sums = (masses.reshape(region.cell_count(k), -1).sum(1) for k in range(region.depth))
        return [_heaviest(of_level, self.config.unexplored_mass) for of_level in sums]


def _heaviest(masses: np.ndarray, unexplored: float) -> np.ndarray:
    """Flags of the fewest masses that leave no more than `unexplored` out."""
    order = np.argsort(masses)
    flags = np.ones(len(masses), bool)
    flags[order[: np.searchsorted(np.cumsum(masses[order]), unexplored, side='right')]] = False
    return flags
