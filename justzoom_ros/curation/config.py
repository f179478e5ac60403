"""How a dataset is built."""

from dataclasses import dataclass

from justzoom_ros.errors import ConfigError
from justzoom_ros.io.photos.source import FaultKind
from justzoom_ros.ranges import check_ranges, ranged

HEADINGS = ('auto', 'own', 'track', 'none')


@dataclass(frozen=True)
class BuildConfig:
    """What is assumed of photos that say nothing, and which are kept. Raises ConfigError for
    values out of range."""

    fov_deg: float | None = ranged(None, above=0, below=180)
    """Horizontal field of view in degrees of photos of whose lens nothing is told."""

    heading: str = 'auto'
    """Which headings: each photo's 'own'; that of the 'track', the direction of travel; 'auto',
    its own where it has one, else the track's; 'none', which leaves the column empty."""

    mount_deg: float | None = ranged(None, at_least=-360, at_most=360)
    """Where the camera looks, degrees clockwise from the direction of travel. None: as most of
    a track's own headings say, else ahead."""

    declination_deg: float = ranged(0.0, at_least=-180, at_most=180)
    """Added to headings that are from magnetic north: positive where that is east of north."""

    position_std_m: float = ranged(7.5, above=0)
    """Standard deviation in metres, along either axis, of positions that state none: that of the
    receivers of phones and cameras, 5 to 10 m."""

    heading_std_deg: float = ranged(15.0, above=0, at_most=180)
    """Standard deviation in degrees of a compass's headings that state none."""

    max_heading_error_deg: float = ranged(45.0, above=0, at_most=180)
    """A heading that is farther than this from where the track says that the camera looks
    contradicts it, uncertain as that may be; 180 asks nothing."""

    max_speed_m_s: float = ranged(40.0, above=0)
    """Faster photos are left out."""

    jump_m: float = ranged(15.0, above=0)
    """A position that lies farther than this from where the track's neighbours expect it is a
    jump."""

    min_spacing_m: float = ranged(1.0, at_least=0)
    """A photo nearer than this to the one kept before it in its track, looking the same way, is
    left out: the camera stands still."""

    min_sharpness: float = ranged(0.25, at_least=0, below=1)
    """A photo less sharp than this share of its track's median is blurred."""

    val: float = ranged(0.1, at_least=0, below=1)
    """Share of the photos whose places are kept back to choose weights by."""

    test: float = ranged(0.1, at_least=0, below=1)
    """Share of the photos whose places are kept back to judge by in the end."""

    block_m: float = ranged(100.0, above=0)
    """Side in metres of the squares that the map is cut into: each belongs to one split."""

    buffer_m: float = ranged(25.0, at_least=0)
    """Photos nearer than this to a square of a split that is kept back more are left out."""

    max_width_px: int = ranged(1280, at_least=64)
    """Wider photos are reduced."""

    camera_height_m: float | None = ranged(None, above=0)
    """Height of the camera above ground in metres, for the column of that name."""

    drop: tuple[str, ...] = ()
    """Kinds of faults whose photos are left out, instead of ending the build."""

    workers: int = ranged(1, at_least=1)
    """Threads that read and write pictures; the dataset is the same with any number."""

    seed: int = 0
    """Draws which squares are kept back."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.heading not in HEADINGS:
            raise ConfigError(f'heading is {self.heading!r}; choose of {", ".join(HEADINGS)}')
        if self.val + self.test >= 1:
            raise ConfigError('val and test leave nothing to train on; their sum must be below 1')
        known = [kind.value for kind in FaultKind]
        for kind in self.drop:
            if kind not in known:
                raise ConfigError(f'{kind!r} cannot be dropped; choose of {", ".join(known)}')
