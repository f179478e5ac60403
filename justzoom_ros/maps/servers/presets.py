"""Imagery by name: sources in the public domain or under an open licence, which allow to keep and
to change what they serve. Commercial basemaps, whose terms forbid that, have no place here.

All the same, a server may ask for moderation, as swisstopo does ("fair use"): two connections, a
cache and a limit of tiles are the defaults.
"""

from dataclasses import dataclass

from justzoom_ros.errors import MapError
from justzoom_ros.registry import Registry

PREFIX = 'preset:'


@dataclass(frozen=True)
class Preset:
    """One source of imagery."""

    covers: str
    """Country or part of the earth."""

    address: str
    """What `justzoom map build` asks."""

    attribution: str
    """Credit to keep with the map."""

    licence: str
    """Name of the licence."""

    terms: str
    """Page that states the licence."""

    max_zoom: int | None = None
    """Finest zoom, where it is a tile server."""


_GEOPF = (
    'https://data.geopf.fr/wmts?SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER='
    'ORTHOIMAGERY.ORTHOPHOTOS&STYLE=normal&TILEMATRIXSET=PM&FORMAT=image/jpeg&TILEMATRIX={z}'
    '&TILEROW={y}&TILECOL={x}'
)

PRESETS: Registry[Preset] = Registry(
    'preset',
    {
        'naip': Preset(
            'United States without Alaska and Hawaii, 0.6 m',
            'WMS:https://imagery.nationalmap.gov/arcgis/services/USGSNAIPImagery/ImageServer/'
            'WMSServer?layers=USGSNAIPImagery:NaturalColor&format=image/jpeg',
            'USDA NAIP imagery. Map services and data available from U.S. Geological Survey, '
            'National Geospatial Program',
            'public domain',
            'https://www.usgs.gov/faqs/are-usgs-reportspublications-copyrighted',
        ),
        'usgs': Preset(
            'United States, 1 to 2 m',
            'https://basemap.nationalmap.gov/arcgis/rest/services/USGSImageryOnly/MapServer/tile/'
            '{z}/{y}/{x}',
            'Map services and data available from U.S. Geological Survey, National Geospatial '
            'Program',
            'public domain',
            'https://www.usgs.gov/faqs/are-usgs-reportspublications-copyrighted',
            16,
        ),
        'swissimage': Preset(
            'Switzerland, 0.1 m',
            'https://wmts.geo.admin.ch/1.0.0/ch.swisstopo.swissimage/default/current/3857/'
            '{z}/{x}/{y}.jpeg',
            'Federal Office of Topography swisstopo, SWISSIMAGE',
            'open government data, source to be named',
            'https://www.swisstopo.admin.ch/en/conditions-geodata',
            20,
        ),
        'pdok': Preset(
            'Netherlands, 0.08 m',
            'https://service.pdok.nl/hwh/luchtfotorgb/wmts/v1_0/Actueel_orthoHR/EPSG:3857/'
            '{z}/{x}/{y}.jpeg',
            'Beeldmateriaal Nederland, by PDOK (CC BY 4.0)',
            'CC BY 4.0',
            'https://www.pdok.nl/introductie/-/article/luchtfoto-pdok',
            19,
        ),
        'basemap-at': Preset(
            'Austria, 0.3 m',
            'https://mapsneu.wien.gv.at/basemap/bmaporthofoto30cm/normal/google3857/'
            '{z}/{y}/{x}.jpeg',
            'Datenquelle: basemap.at (CC BY 4.0)',
            'CC BY 4.0',
            'https://basemap.at/#lizenz',
            19,
        ),
        'ign-france': Preset(
            'France, 0.2 m',
            _GEOPF,
            'IGN, BD ORTHO (Licence Ouverte 2.0)',
            'Licence Ouverte / Open Licence 2.0',
            'https://www.etalab.gouv.fr/licence-ouverte-open-licence/',
            19,
        ),
        'luxembourg': Preset(
            'Luxembourg, 0.2 m',
            'https://{switch:wmts1,wmts2}.geoportail.lu/opendata/wmts/ortho_latest/'
            'GLOBAL_WEBMERCATOR_4_V3/{z}/{x}/{y}.jpeg',
            'Administration du cadastre et de la topographie, Luxembourg (CC0)',
            'CC0 1.0',
            'https://data.public.lu/en/datasets/bd-l-ortho-webservices-wms-et-wmts/',
            19,
        ),
    },
    MapError,
)
"""The presets by name. Others: `PRESETS.register`, as long as the program runs."""


def find_preset(source: str) -> Preset | None:
    """The preset that `preset:NAME` means; None for other sources. Raises MapError for a name
    that is not known."""
    if not source.startswith(PREFIX):
        return None
    return PRESETS.get(source.removeprefix(PREFIX))
