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
    """`side_m` metres of city from `seed`, cut into a tree of `grid` and `depth`; the orthophoto
    has `resolution_m` metres per pixel and the map crops of `crop_px`. Numbers of places per
    split, with pictures of `size_px` (width, height): one at each place of `train`, `cameras` at
    those of the others. `panoramas` are further places to learn from, seen all round. `drives` of
    `drive_s` seconds at `drive_hz` pictures per second. `held_share` of the blocks is kept back
    for the split 'blocks', `changed` of them were built anew since the map was made. `condition`
    is one of CONDITIONS; horizontal fields of view lie in `fov_deg`."""

    seed: int = 1
    side_m: float = 1280.0
    grid: int = 4
    depth: int = 3
    resolution_m: float = 0.25
    crop_px: int = 160
    train: int = 10_000
    val: int = 500
    blocks: int = 500
    other_city: int = 500
    panoramas: int = 0
    cameras: int = 1
    size_px: tuple[int, int] = (512, 288)
    drives: int = 1
    drive_s: float = 120.0
    drive_hz: float = 4.0
    held_share: float = 0.1
    changed: float = 0.0
    condition: str = 'mixed'
    fov_deg: tuple[float, float] = FOV_DEG

    def __post_init__(self):
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


def photographer(city: City, region: Region, config: CityConfig) -> Photographer:
    """The Photographer of a city that a CityConfig asks for."""
    return Photographer(
        city, region, config.size_px, config.held_share, config.condition, config.fov_deg
    )
