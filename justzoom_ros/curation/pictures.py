"""The pictures of a dataset: straightened, reduced and written, and judged on the way."""

import hashlib
import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from justzoom_ros.curation.config import BuildConfig
from justzoom_ros.curation.selection import BLURRED, DUPLICATE, Entry, Key, Selection, settle
from justzoom_ros.errors import ConfigError, ImageError
from justzoom_ros.inference.image_quality import ImageFault, image_fault
from justzoom_ros.io.camera_effects import encode_jpeg
from justzoom_ros.io.images import resize
from justzoom_ros.io.photos.lens import Lens
from justzoom_ros.io.photos.source import Fault, FaultKind, PhotoSource

T = TypeVar('T')

JPEG_QUALITY = 90
JUDGED_WIDTH_PX = 640
"""Sharpness is measured at this width, so that it does not depend on the camera's pixels."""

HASH_PX = 16
"""Side of the picture of grey steps that tells duplicates."""

SAME_BITS = 5
"""Pictures of one track whose hashes, of 256 bits, differ by no more show the same: a camera that
hangs, or a recorder that wrote a frame twice."""

FAULT_REASONS = {
    ImageFault.DARK: 'dark',
    ImageFault.OVEREXPOSED: 'over-exposed',
    ImageFault.FLAT: 'flat',
    ImageFault.BLURRED: BLURRED,
}


@dataclass(frozen=True)
class Taken:
    """A picture that was written."""

    image_id: str
    """What the dataset calls it."""

    lens: Lens
    """The lens of the picture as written."""

    sharpness: float
    """Variance of the second derivative of grey levels."""

    look: np.ndarray
    """Which grey steps go up, bool (256,)."""

    digest: str
    """Of its pixels: the same for the same picture."""

    fault: ImageFault | None
    """Why it shows nothing, None where it shows something."""


def write_pictures(
    selection: Selection,
    sources: Sequence[PhotoSource],
    folder: Path,
    config: BuildConfig,
    progress: Callable[[int], None] = lambda count: None,
) -> dict[Key, Taken]:
    """Write all photos that are kept into `folder` as `<image_id>_undistorted.jpg`; then leave out
    those that cannot be read, that show nothing, blurred ones and duplicates, and remove their
    files. `progress` is told how many are done. Returns {photo's key: what was written}.

    Raises DatasetError for one that cannot be read or whose lens does not fit it, unless `config`
    says to drop such.
    """
    folder.mkdir(parents=True)
    taken: dict[Key, Taken] = {}
    faults: dict[int, Fault] = {}
    numbers = {entry.key: i for i, entry in enumerate(selection.kept)}
    written = run_in_order(_jobs(selection, sources, folder, config), config.workers)
    for done, (key, result) in enumerate(written, 1):
        progress(done)
        if isinstance(result, Taken):
            taken[key] = result
            continue
        faults[numbers[key]] = result
        if result.kind.value not in config.drop:
            break  # the build ends here; no need to write the others
    written.close()
    settle(selection, faults, config.drop)
    selection.drop(_poor(selection, taken, config))
    _remove_others(folder, {taken[entry.key].image_id for entry in selection.kept})
    return taken


def _jobs(
    selection: Selection, sources: Sequence[PhotoSource], folder: Path, config: BuildConfig
) -> Iterator[Callable[[], tuple[Key, Taken | Fault]]]:
    """What writes each photo, in the order of the sources."""
    ids = image_ids(selection.kept)
    for number, source in enumerate(sources):
        entries = {id(e.photo): e for e in selection.kept if e.source == number}
        for photo, load in source.pictures([entry.photo for entry in entries.values()]):
            entry = entries[id(photo)]
            yield partial(_write_one, entry, load, folder, ids[entry.key], config)


def _write_one(
    entry: Entry,
    load: Callable[[], np.ndarray],
    folder: Path,
    image_id: str,
    config: BuildConfig,
) -> tuple[Key, Taken | Fault]:
    name = entry.photo.name
    try:
        image = load()
    except ImageError as error:
        return entry.key, Fault(FaultKind.UNREADABLE, f'{name}: {error}')
    try:
        image, lens = prepare(image, entry, config)
    except (ImageError, ConfigError) as error:
        return entry.key, Fault(FaultKind.NO_LENS, f'{name}: {error}')
    (folder / f'{image_id}_undistorted.jpg').write_bytes(encode_jpeg(image, JPEG_QUALITY))
    return entry.key, judge(image, image_id, lens)


def run_in_order(jobs: Iterable[Callable[[], T]], workers: int) -> Generator[T, None, None]:
    """Yield the results of jobs in their order, `workers` of them at a time in threads, and few
    more begun than were asked for."""
    with ThreadPoolExecutor(workers) as pool:
        begun: deque[Future[T]] = deque()
        for job in jobs:
            begun.append(pool.submit(job))
            if len(begun) > 2 * workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def image_ids(entries: Sequence[Entry]) -> dict[Key, str]:
    """{key: image_id}: the photo's name as a file name, with a number where it comes twice."""
    ids: dict[Key, str] = {}
    seen: set[str] = set()
    for entry in entries:
        plain = re.sub(r'\.(jpe?g|png|tiff?|webp)$', '', entry.photo.name, flags=re.IGNORECASE)
        plain = re.sub(r'[^A-Za-z0-9]+', '_', plain).strip('_')[-100:] or 'photo'
        name, count = plain, 1
        while name.lower() in seen:
            count += 1
            name = f'{plain}_{count}'
        seen.add(name.lower())
        ids[entry.key] = name
    return ids


def _remove_others(folder: Path, ids: set[str]) -> None:
    for path in folder.iterdir():
        if path.name.removesuffix('_undistorted.jpg') not in ids:
            path.unlink()


# --- one picture ---------------------------------------------------------------------------------


def prepare(image: np.ndarray, entry: Entry, config: BuildConfig) -> tuple[np.ndarray, Lens]:
    """A picture, RGB uint8 (H, W, 3), straightened and reduced, and its lens as it is now. Raises
    ImageError where the lens is for another size."""
    size_px = image.shape[1], image.shape[0]
    lens = entry.photo.lens
    if lens is None:
        assert config.fov_deg is not None
        lens = Lens.from_fov(config.fov_deg, size_px, '--fov')
    lens = lens.scaled(size_px)
    image = lens.straighten(image)
    if size_px[0] <= config.max_width_px:
        return image, lens
    # The height is rounded, so the scale down is not quite that across: each is kept.
    width, height = config.max_width_px, round(size_px[1] * config.max_width_px / size_px[0])
    return resize(image, width, height), lens.scaled((width, height))


def judge(image: np.ndarray, image_id: str, lens: Lens) -> Taken:
    """What is to be known of a picture, RGB uint8 (H, W, 3), when it is gone."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height = max(1, round(grey.shape[0] * JUDGED_WIDTH_PX / grey.shape[1]))
    judged = cv2.resize(grey, (JUDGED_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    small = cv2.resize(grey, (HASH_PX + 1, HASH_PX), interpolation=cv2.INTER_AREA)
    return Taken(
        image_id,
        lens,
        float(cv2.Laplacian(judged, cv2.CV_64F).var()),
        (small[:, 1:] > small[:, :-1]).ravel(),
        hashlib.sha256(image.tobytes()).hexdigest(),
        image_fault(image),
    )


# --- which are poor ------------------------------------------------------------------------------


def _poor(
    selection: Selection, taken: Mapping[Key, Taken], config: BuildConfig
) -> dict[int, tuple[str, str]]:
    """Photos to leave out for what they show, by number among those kept."""
    shots = [taken[entry.key] for entry in selection.kept]
    poor = _blurred(selection, shots, config) | {
        i: (FAULT_REASONS[shot.fault], str(shot.fault))
        for i, shot in enumerate(shots)
        if shot.fault is not None
    }
    return _duplicates(selection, shots, poor) | poor


def _blurred(
    selection: Selection, shots: Sequence[Taken], config: BuildConfig
) -> dict[int, tuple[str, str]]:
    """Those less sharp than most of their track."""
    groups: dict[tuple[int, str], list[int]] = {}
    for i, entry in enumerate(selection.kept):
        groups.setdefault(entry.track, []).append(i)
    found = {}
    for numbers in groups.values():
        median = float(np.median([shots[i].sharpness for i in numbers]))
        for i in numbers:
            share = shots[i].sharpness / max(median, 1e-9)
            if share < config.min_sharpness:
                found[i] = (BLURRED, f'{share:.0%} as sharp as the median of its track')
    return found


def _duplicates(
    selection: Selection, shots: Sequence[Taken], poor: Mapping[int, tuple[str, str]]
) -> dict[int, tuple[str, str]]:
    """Those with the pixels of an earlier one, or that look like the one before in their track."""
    first: dict[str, int] = {}
    found = {}
    for i, shot in enumerate(shots):
        if i in poor:
            continue
        if shot.digest in first:
            found[i] = (DUPLICATE, f'of {selection.kept[first[shot.digest]].photo.name}')
        first.setdefault(shot.digest, i)
    for numbers in selection.tracks():
        left = [int(i) for i in numbers if i not in poor and i not in found]
        last = left[0] if left else -1
        for i in left[1:]:
            differ = int((shots[i].look != shots[last].look).sum())
            if differ <= SAME_BITS:
                found[i] = (DUPLICATE, f'of {selection.kept[last].photo.name}')
            else:
                last = i
    return found
