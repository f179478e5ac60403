"""What of a raster file is imagery: alpha of every type, and collars that no mask tells of."""

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import cv2
import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetReader, MemoryFile
from rasterio.warp import reproject

from justzoom_ros.maps.source import is_gdal_name

SAMPLE_PX = 1024
"""Pixels along a side of what is looked at to find out."""

FULL_ALPHA = {'uint16': 65_535.0, 'int16': 32_767.0}
"""What GDAL takes for opaque in alpha bands of these types; 255 in others."""

GDAL_TYPES = {
    'uint8': 'Byte', 'int8': 'Int8', 'uint16': 'UInt16', 'int16': 'Int16', 'uint32': 'UInt32',
    'int32': 'Int32', 'uint64': 'UInt64', 'int64': 'Int64', 'float32': 'Float32',
    'float64': 'Float64',
}  # fmt: skip
"""GDAL's words for the types of bands."""

MIN_SHARE = 0.02
"""Least share of the imagery that looks like a collar."""

MIN_BORDER_SHARE = 0.05
"""Least share of the border that a collar's colour has."""

LOSSY_TOLERANCE = 6
"""How far (of 255) JPEG leaves the colour of a collar from what it was."""

NEARLY_BLACK, DUSK = 12, 24
"""Of 8 bits: what compression makes of black is no more than the first. Dark imagery (water, a
shadow) fades over values up to the second, a collar ends at once."""

ENDS_AT_ONCE = 0.9
"""Least share that nearly black pixels have of those up to dusk, where they are a collar."""

SPECKS_PX = 5
"""Width of brighter specks that belong to the noise of a collar."""

COLLAR_MARGIN_PX = 2
"""Pixels of the sample that are left out beside a collar: they are mixed with it."""


def alpha_band(file: DatasetReader) -> int | None:
    """The number, from 1, of the alpha band; None without one."""
    if ColorInterp.alpha not in file.colorinterp:
        return None
    return file.colorinterp.index(ColorInterp.alpha) + 1


def alpha_max(file: DatasetReader) -> float:
    """The value that is opaque in the alpha band: of wide types people write 1, 255 and the
    greatest of the type alike, so the values themselves tell. Raises GDAL's errors."""
    band = alpha_band(file)
    if band is None or file.dtypes[band - 1] == 'uint8':
        return 255.0
    shape = min(SAMPLE_PX, file.height), min(SAMPLE_PX, file.width)
    greatest = float(np.nanmax(file.read(band, out_shape=shape), initial=0.0))
    if greatest <= 255:
        return 1.0 if greatest <= 1 else 255.0
    return FULL_ALPHA.get(file.dtypes[band - 1], greatest)


BAND_XML = """<VRTRasterBand dataType="{kind}" band="{number}"><ColorInterp>{colour}</ColorInterp>
<SimpleSource>{source}<SourceBand>{number}</SourceBand></SimpleSource></VRTRasterBand>"""

# A source leaves pixels of its NODATA as they are, and makes the others 0 * value + 255: what any
# band has a value for is imagery.
MASK_XML = """<ComplexSource>{source}<SourceBand>{number}</SourceBand>
<ScaleOffset>255</ScaleOffset><ScaleRatio>0</ScaleRatio>{nodata}</ComplexSource>"""


def needs_mask(file: DatasetReader) -> bool:
    """Whether the bands mark missing data by different values: GDAL's warper takes one of them
    for all."""
    values = {repr(value) for value in file.nodatavals}
    return len(values) > 1 and alpha_band(file) is None


def mask_by_bands(file: DatasetReader, memory: MemoryFile) -> DatasetReader:
    """The file with a mask in place of what its bands take for missing data: masked is a pixel
    that no band has a value for, as in GDAL's own mask of a file. `memory`, empty and with the
    suffix .vrt, holds the description that GDAL reads it by. Raises GDAL's errors."""
    name = file.name if is_gdal_name(file.name) else str(Path(file.name).resolve())
    source = f'<SourceFilename relativeToVRT="0">{escape(name)}</SourceFilename>'
    numbers = range(1, file.count + 1)
    bands = [
        BAND_XML.format(kind=GDAL_TYPES[kind], number=number, colour=colour.name, source=source)
        for number, kind, colour in zip(numbers, file.dtypes, file.colorinterp, strict=True)
    ]
    masks = [
        MASK_XML.format(
            source=source,
            number=number,
            nodata='' if value is None else f'<NODATA>{value!r}</NODATA>',
        )
        for number, value in zip(numbers, file.nodatavals, strict=True)
    ]
    placed = ', '.join(map(repr, file.transform.to_gdal()))
    memory.write(
        f"""<VRTDataset rasterXSize="{file.width}" rasterYSize="{file.height}">
<SRS>{escape(file.crs.to_wkt())}</SRS><GeoTransform>{placed}</GeoTransform>{''.join(bands)}
<MaskBand><VRTRasterBand dataType="Byte">{''.join(masks)}</VRTRasterBand></MaskBand>
</VRTDataset>""".encode()
    )
    return memory.open()


@dataclass(frozen=True)
class Sample:
    """A part of a raster file, at fewer pixels."""

    colour: np.ndarray
    """Its bands (1 or 3, h, w)."""

    covered: np.ndarray
    """Where masks, nodata, alpha and NaN leave imagery, bool (h, w)."""

    transform: rasterio.Affine
    """From its pixels to the file's projection."""

    crs: object
    """That projection."""


@dataclass(frozen=True)
class Collar:
    """A border of one colour round imagery, which may mean that there is none."""

    look: str
    """Its colour in words."""

    share: float
    """Share (0..1) of the covered pixels that belong to it."""

    flags: np.ndarray
    """Where it is in the sample, bool (h, w)."""

    sample: Sample
    """What it was found in."""

    def within(self, transform: rasterio.Affine, crs: str, shape: tuple[int, int]) -> np.ndarray:
        """Where it is, bool `shape`, in pixels of another plane; with a margin round it."""
        margin = COLLAR_MARGIN_PX
        # Beyond the sample, too: a map's pixel may reach over the file's edge.
        padded = np.pad(self.flags.astype(np.uint8), margin, mode='edge')
        grown = cv2.dilate(padded, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))
        result = np.zeros(shape, np.uint8)
        reproject(
            grown,
            result,
            src_transform=self.sample.transform @ rasterio.Affine.translation(-margin, -margin),
            src_crs=self.sample.crs,
            dst_transform=transform,
            dst_crs=crs,
            resampling=Resampling.nearest,
        )
        return result > 0


def find_collar(sample: Sample, lossy: bool) -> Collar | None:
    """The `Collar` of a sample, None where nothing looks like one: the most frequent colour of
    its border, or what is nearly black there, where what is connected to it is a good share of
    the imagery. `lossy`: whether the file's compression blurs colours."""
    border = _border(sample)
    if not border.any():
        return None
    colours, counts = np.unique(sample.colour[:, border].T, axis=0, return_counts=True)
    colour = colours[counts.argmax()]
    tolerance = LOSSY_TOLERANCE if lossy else 0
    alike = sample.covered & (np.abs(_float(sample.colour) - _float(colour)) <= tolerance).all(0)
    words = ', '.join(f'{value:g}' for value in colour.tolist())
    plain = _collar(sample, f'of one colour ({words})', _reaching_border(sample, alike))
    noisy = _nearly_black_collar(sample)
    if plain is None or noisy is None:
        return plain or noisy
    if plain.share > ENDS_AT_ONCE * noisy.share:
        return plain
    # Of a noisy collar the colour is all over it; dark imagery beside a plain one has none of it.
    near = cv2.dilate(alike.astype(np.uint8), np.ones((SPECKS_PX, SPECKS_PX), np.uint8)) > 0
    return noisy if near[noisy.flags].mean() > ENDS_AT_ONCE else plain


def _nearly_black_collar(sample: Sample) -> Collar | None:
    """A collar that noise was added to, None where what is nearly black fades into imagery."""
    if sample.colour.dtype != np.uint8:
        return None
    brightest = sample.colour.max(axis=0)
    flags = _reaching_border(sample, sample.covered & (brightest <= NEARLY_BLACK))
    up_to_dusk = _reaching_border(sample, sample.covered & (brightest <= DUSK))
    if flags.sum() < ENDS_AT_ONCE * up_to_dusk.sum():
        return None
    return _collar(sample, f'nearly black (0 to {NEARLY_BLACK}; or is it water?)', flags)


def _collar(sample: Sample, look: str, flags: np.ndarray) -> Collar | None:
    """The collar of some flags (h, w), None where they are too few for one or all there is."""
    share = float(flags.sum() / sample.covered.sum())
    return Collar(look, share, flags, sample) if MIN_SHARE <= share < 1 else None


def _border(sample: Sample) -> np.ndarray:
    """Flags (h, w) of the covered pixels along the four sides."""
    border = np.ones(sample.covered.shape, bool)
    border[1:-1, 1:-1] = False
    return border & sample.covered


def _reaching_border(sample: Sample, flags: np.ndarray) -> np.ndarray:
    """Those of some flags (h, w) that are connected to the border; none where few are there."""
    border = _border(sample)
    if (flags & border).sum() < MIN_BORDER_SHARE * border.sum():
        return np.zeros_like(flags)
    _, labels = cv2.connectedComponents(flags.astype(np.uint8))
    return flags & np.isin(labels, np.unique(labels[flags & border]))


def _float(values: np.ndarray) -> np.ndarray:
    """Values as float64, bands first: (bands, 1, 1) for one colour."""
    result = values.astype(np.float64)
    return result[:, None, None] if result.ndim == 1 else result
