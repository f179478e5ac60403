"""Several pictures of one place, of other dates or providers: layers of one map.

A map folder is the layer `base`; the folder `layers` in it holds a map folder of the same region
for each further layer. What a camera sees in winter is found in a picture taken in winter.
"""

import re
from pathlib import Path
from typing import Any

from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.maps.build import build
from justzoom_ros.maps.map_file import LAYERS_NAME, YAML_NAME, read_info
from justzoom_ros.maps.satellite_map import SatelliteMap

BASE = 'base'
"""Name of the layer that is the map itself."""

NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,39}')


def layer_folders(folder: str | Path) -> dict[str, Path]:
    """{name: map folder} of the layers of a map besides its base, by name."""
    found = Path(folder) / LAYERS_NAME
    if not found.is_dir():
        return {}
    paths = sorted(path for path in found.iterdir() if (path / YAML_NAME).is_file())
    return {path.name: path for path in paths if not path.name.startswith('.')}


def open_layers(satellite_map: SatelliteMap) -> dict[str, SatelliteMap]:
    """{name: map} of all layers, the base first. Raises MapError where one is damaged or is of
    another region."""
    layers = {BASE: satellite_map}
    for name, path in layer_folders(satellite_map.path).items():
        layers[name] = SatelliteMap.open(path)
        if layers[name].region != satellite_map.region:
            raise MapError(
                f'{path} shows another region than {satellite_map.path}; build it again with '
                f'`justzoom map build --also IMAGERY --as {name} -o {satellite_map.path}`'
            )
    return layers


def add_layer(folder: str | Path, name: str, source: str | Path, **options: Any) -> SatelliteMap:
    """Make a layer of a map from imagery, for the map's region. `maps.build.build` has the
    options; `crop_px` is the map's unless given.

    Raises ConfigError for a name that cannot be one, and what building a map raises.
    """
    check_layer_name(name)
    info = read_info(folder)
    path = Path(folder) / LAYERS_NAME / name
    options = {'crop_px': info.crop_px, **options}
    return SatelliteMap(path, *build(source, info.region, path, **options))


def check_layer_name(name: str) -> None:
    """Raise ConfigError where a layer cannot have a name."""
    if not NAME.fullmatch(name) or name == BASE:
        raise ConfigError(
            f'{name!r} cannot be the name of a layer: it takes up to 40 letters, digits, dots, '
            f'dashes and underscores, and {BASE!r} is the map itself'
        )
