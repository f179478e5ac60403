"""What a generated city and its dataset are made from."""

from dataclasses import dataclass

from justzoom_ros.errors import ConfigError
from justzoom_ros.region import Region
from justzoom_ros.worlds.city.city import City
from justzoom_ros.worlds.city.shots import CONDITIONS, FOV_DEG, TURNS, Photographer

LATITUDE, LONGITUDE = 40.0, -40.0
"""In the empty North Atlantic, so that nobody takes the city for a real one."""


@dataclass(frozen=True)
class CityConfig:
    """A city and its pictures. Raises ConfigError for values out of range."""

    seed: int = 1
    """Draws the city and all that is seen of it."""

    side_m: float = 1280.0
    """Side of the square, 200 to 4000 metres."""

    grid: int = 4
    """Cells along a side in one zoom step."""

    depth: int = 3
    """Zoom steps."""

    resolution_m: float = 0.25
    """Metres per pixel of the orthophoto."""

    crop_px: int = 160
    """Side of the finest crop of the map, in pixels."""

    train: int = 10_000
    """Places to learn from, with one picture each."""

    val: int = 500
    """Places of the same streets on other days."""

    blocks: int = 500
    """Places round blocks that `train` never sees."""

    other_city: int = 500
    """Places of a city of another seed."""

    panoramas: int = 0
    """Further places to learn from, seen all round."""

    cameras: int = 1
    """Pictures at each place but those of `train`, 1 to 4: ahead, back, left, right."""

    size_px: tuple[int, int] = (512, 288)
    """Width and height of a picture."""

    drives: int = 1
    """Traverses as rosbag2."""

    drive_s: float = 120.0
    """Length of each, in seconds."""

    drive_hz: float = 4.0
    """Pictures per second of a drive."""

    held_share: float = 0.1
    """Share of the blocks that is kept back from `train` and `val`."""

    changed: float = 0.0
    """Share of the blocks that were built anew since the map was made."""

    condition: str = 'mixed'
    """One of CONDITIONS."""

    fov_deg: tuple[float, float] = FOV_DEG
    """Least and greatest horizontal field of view."""

    def __post_init__(self) -> None:
        _check('seed', self.seed, 0, 2**31)
        self.region  # noqa: B018 - which checks grid and depth
        _check('side', self.side_m, 200, 4000)
        _check('resolution', self.resolution_m, 0.05, 5)
        _check('cameras', self.cameras, 1, len(TURNS))
        for name in ('train', 'val', 'blocks', 'other_city', 'panoramas'):
            _check(name, getattr(self, name), 0, 999_999)
        for value in self.size_px:
            _check('size', value, 32, 4096)
        _check('drives', self.drives, 0, 999)
        _check('drive_s', self.drive_s, 5, 7200)
        _check('drive_hz', self.drive_hz, 0.5, 10)
        _check('held', self.held_share, 0, 0.5)
        _check('changed', self.changed, 0, 1)
        if not 10 <= self.fov_deg[0] <= self.fov_deg[1] <= 150:
            raise ConfigError(f'fov is {self.fov_deg}; it must lie in 10..150, least first')
        if self.condition not in CONDITIONS:
            raise ConfigError(
                f'condition is {self.condition!r}; it must be one of {", ".join(CONDITIONS)}'
            )
        if self.blocks and not self.held_share:
            raise ConfigError(
                'pictures of blocks need a share of them kept back; set held above 0'
            )

    @property
    def region(self) -> Region:
        return Region(LATITUDE, LONGITUDE, self.side_m, self.grid, self.depth)


def _check(name, value, low, high):
    if not low <= value <= high:
        raise ConfigError(f'{name} is {value}; it must be in {low}..{high}')


def make_photographer(city: City, region: Region, config: CityConfig) -> Photographer:
    """The Photographer of a city that a CityConfig asks for."""
    return Photographer(
        city, region, config.size_px, config.held_share, config.condition, config.fov_deg
    )
