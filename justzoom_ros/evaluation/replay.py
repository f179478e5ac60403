"""Replay: the fixes of every image of a bag, compared with the truth, as tables and a picture.

`in_process` runs a `Localizer` itself; `justzoom_ros.ros.live` asks a running node. Both yield
`ReplayedFix`es, which `write_results` turns into fixes.csv, track.geojson, map.png,
errors.png, belief.png and summary.json.
"""

import csv
from collections import Counter
from dataclasses import dataclass

import numpy as np

from justzoom_ros.errors import ImageError
from justzoom_ros.evaluation import metrics, sequence_metrics
from justzoom_ros.evaluation.dead_reckoning import dead_reckoned
from justzoom_ros.evaluation.sequence_metrics import NEAR_M
from justzoom_ros.files import output_folder, write_json, writing
from justzoom_ros.inference.posterior import radius_m
from justzoom_ros.io.bags import MAX_GAP_S, Track, in_time
from justzoom_ros.io.image_message import image_from_message
from justzoom_ros.io.motion_message import pose_of
from justzoom_ros.io.stamps import StampGate
from justzoom_ros.plots.figures import Mark, draw_track, ellipse
from justzoom_ros.plots.motion import belief_picture, draw_beliefs, draw_errors_over_way

STATUSES = ('fix', 'no_fix', 'error', 'missed')
"""What came of an image: a fix, none since unsure, an image that cannot be used, and (live
with a rate only) one that the node passed over for a newer one."""

CSV_COLUMNS = (
    *('stamp_ns', 'status', 'reason', 'latitude', 'longitude', 'confidence'),
    *('variance_east_m2', 'covariance_east_north_m2', 'variance_north_m2'),
    *('truth_latitude', 'truth_longitude', 'error_m', 'truth_in_90_ellipse'),
)


@dataclass(frozen=True)
class ReplayedFix:
    """What came of one image: `status` of STATUSES with the `reason` where it is known.

    `latitude`, `longitude` (degrees) and `covariance_m2` (2, 2; ENU) are None for 'error' and
    'missed'; `confidence` (0..1) is None where it is not known, as it is from a NavSatFix, and so
    is `mass_near`, the mass within NEAR_M of the truth. `picture`: see `belief_picture`.
    """

    stamp_ns: int
    status: str
    reason: str = ''
    latitude: float | None = None
    longitude: float | None = None
    covariance_m2: np.ndarray | None = None
    confidence: float | None = None
    mass_near: float | None = None
    picture: np.ndarray | None = None


def usable_image(item, gate, on_jump=lambda: None):
    """The picture of a BagMessage, uint8 (H, W, 3) RGB. Raises ImageError where a node would give
    no fix for it: it cannot be decoded, or its stamp is not after those before (a StampGate).
    `on_jump` is called where time jumps back."""
    stamp = item.message.header.stamp
    verdict = gate.judge(stamp.sec * 10**9 + stamp.nanosec)
    if verdict == 'unset':
        raise ImageError('image has no header.stamp')
    if verdict == 'late':
        raise ImageError('image is not later than the one before it')
    if verdict == 'jump':
        on_jump()
    return image_from_message(item.message)


def in_process(bag, topic, localizer, progress=iter):
    """Yield the ReplayedFix of each image on a topic of an open `Bag`, in its order.

    `progress` wraps the messages, as tqdm does.
    """
    gate = StampGate()
    for item in progress(bag.messages([topic])):
        try:
            fix = localizer.locate(usable_image(item, gate))
        except ImageError as error:
            yield ReplayedFix(item.stamp_ns, 'error', str(error))
            continue
        yield _replayed(fix, item.stamp_ns)


def tracked(bag, topic, tracker, odom_topic=None, track=None, progress=iter):
    """As `in_process`, each image in the light of those before it: by a `Tracker`, which is reset
    first, with the odometry on a topic of the bag where there is one. With the Track of true
    positions each ReplayedFix tells the mass near the truth."""
    gate = StampGate()
    tracker.reset()
    for item in progress(bag.messages([topic] + [odom_topic] * bool(odom_topic))):
        if item.topic == odom_topic:
            tracker.add_odometry(pose_of(item.message))
            continue
        try:
            image = usable_image(item, gate, tracker.reset)
            fix = tracker.locate(image, item.stamp_ns)
        except ImageError as error:
            yield ReplayedFix(item.stamp_ns, 'error', str(error))
            continue
        truth = track and track.at(item.stamp_ns)
        yield _replayed(fix, item.stamp_ns, truth)


def tracked_images(images, tracker, drift=None, progress=iter):
    """As `tracked`, for GeoImages with times, in their order, and odometry made from their own
    positions with the errors of a `DriftConfig`. Raises DatasetError."""
    images = in_time(images)
    region = tracker.localizer.region
    places_m = [region.to_enu(image.latitude, image.longitude) for image in images]
    tracker.reset()
    poses = dead_reckoned([image.stamp_ns for image in images], places_m, drift)
    for image, pose in zip(progress(images), poses, strict=True):
        tracker.add_odometry(pose)
        fix = tracker.locate(image.load(), image.stamp_ns)
        yield _replayed(fix, image.stamp_ns, (image.latitude, image.longitude))


def track_of(images):
    """The Track of the positions of GeoImages with times."""
    images = in_time(images)
    columns = [(image.stamp_ns, image.latitude, image.longitude) for image in images]
    stamps_ns, latitudes, longitudes = zip(*columns, strict=True)
    return Track(np.array(stamps_ns, np.int64), np.array(latitudes), np.array(longitudes))


def _replayed(fix, stamp_ns, truth=None):
    position = fix.latitude, fix.longitude, np.asarray(fix.covariance_m2)
    posterior, near = fix.require_posterior(), None
    if truth is not None:
        truth_m = posterior.region.to_enu(*truth)
        near = posterior.mass_within(*truth_m, NEAR_M) * (1 - fix.off_map)
    picture = belief_picture(posterior.to_grid())
    return ReplayedFix(stamp_ns, fix.status, fix.reason, *position, fix.confidence, near, picture)


# --- against the truth -------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoredFix:
    """A ReplayedFix beside the truth, in metres east and north of the region's centre.

    None is: the truth where it is not known, the position of an image without one, and what
    follows from these. `in_ellipse`: the truth lies in the 90 % ellipse of the covariance.
    """

    fix: ReplayedFix
    position_m: np.ndarray | None
    truth: tuple[float, float] | None
    truth_m: np.ndarray | None
    error_m: float | None
    in_ellipse: bool | None


def judge(fix, region, track=None, max_gap_s=MAX_GAP_S):
    """The `ScoredFix` of a ReplayedFix by a Track of true positions."""
    truth = track and track.at(fix.stamp_ns, max_gap_s)
    truth_m = None if truth is None else np.array(region.to_enu(*truth))
    if fix.latitude is None:
        return ScoredFix(fix, None, truth, truth_m, None, None)
    position_m = np.array(region.to_enu(fix.latitude, fix.longitude))
    if truth is None:
        return ScoredFix(fix, position_m, None, None, None, None)
    inside = metrics.in_ellipses(truth_m, position_m, fix.covariance_m2)
    error_m = float(np.hypot(*(position_m - truth_m)))
    return ScoredFix(fix, position_m, truth, truth_m, error_m, bool(inside[0]))


def summarize(judged, region, track=None):
    """Counts and figures as a dictionary for JSON; the protocol is the full grid.

    `all` is over all images that have a position and a truth inside the region, `fix_only` over
    those of them with a fix.
    """
    counts = Counter(item.fix.status for item in judged)
    known = [item for item in judged if item.error_m is not None]
    inside = [item for item in known if region.contains(*item.truth)]
    return {
        'images': len(judged),
        **{status: counts[status] for status in STATUSES},
        'truth_unknown': len(judged) - sum(item.truth is not None for item in judged),
        'truth_outside_region': len(known) - len(inside),
        'truth_messages_dropped': track.dropped if track else 0,
        'share_fix': counts['fix'] / len(judged) if judged else None,
        'protocol': 'full grid',
        'all': _figures(inside, region),
        'fix_only': _figures([item for item in inside if item.fix.status == 'fix'], region),
        'sequence': sequence_figures(inside),
    }


def sequence_figures(judged):
    """`sequence_metrics.summarize` of the ScoredFix of one sequence that have a truth and a
    position; None where they are fewer than two."""
    if len(judged) < 2:
        return None
    near = [item.fix.mass_near for item in judged]
    return sequence_metrics.summarize(
        [item.truth_m for item in judged],
        [item.position_m for item in judged],
        [item.fix.covariance_m2 for item in judged],
        [item.fix.status == 'fix' for item in judged],
        None if None in near else near,
    )


def _figures(judged, region):
    truths = np.array([item.truth_m for item in judged]).reshape(-1, 2)
    positions = np.array([item.position_m for item in judged]).reshape(-1, 2)
    covariances = [item.fix.covariance_m2 for item in judged]
    hits = [_cell(region, item.truth_m) == _cell(region, item.position_m) for item in judged]
    return metrics.without_nan(metrics.fix_summary(truths, positions, covariances, hits))


def _cell(region, position_m):
    inside = np.abs(position_m).max() <= region.side_m / 2
    return tuple(region.encode_enu(*position_m).tolist()) if inside else None


# --- results -----------------------------------------------------------------------------------


def write_results(out, map, fixes, track: Track | None = None, max_gap_s=MAX_GAP_S):
    """Write fixes.csv, track.geojson, map.png and summary.json into the folder `out`, each whole
    or not at all; returns the summary. Raises OutputError."""
    out = output_folder(out)
    judged = [judge(fix, map.region, track, max_gap_s) for fix in fixes]
    summary = summarize(judged, map.region, track)
    _write_csv(out / 'fixes.csv', judged)
    write_json(out / 'track.geojson', geojson(judged, map.region, track))
    title = describe(summary)
    marks = [
        Mark(item.position_m, item.fix.covariance_m2, item.fix.status, item.truth_m)
        for item in judged
        if item.position_m is not None
    ]
    truths_m = track and np.stack(map.region.to_enu(track.latitudes, track.longitudes), axis=1)
    draw_track(map, marks, out / 'map.png', title, truths_m)
    _draw_way(out, map, [item for item in judged if item.error_m is not None], title)
    write_json(out / 'summary.json', summary)
    return summary


def _draw_way(out, map, judged, title):
    """errors.png and, where beliefs are known, belief.png, of images with truth and position."""
    if len(judged) < 2:
        return
    way = sequence_metrics.travelled_m([item.truth_m for item in judged])
    draw_errors_over_way(
        way,
        [item.error_m for item in judged],
        [radius_m(item.fix.covariance_m2) for item in judged],
        [item.fix.status == 'fix' for item in judged],
        out / 'errors.png',
        title,
    )
    frames = [
        {
            'travelled_m': travelled_m,
            'picture': item.fix.picture,
            'mean_m': item.position_m,
            'covariance_m2': item.fix.covariance_m2,
            'status': item.fix.status,
            'truth_m': item.truth_m,
        }
        for travelled_m, item in zip(way, judged, strict=True)
        if item.fix.picture is not None
    ]
    if frames:
        draw_beliefs(map, frames, out / 'belief.png')


def describe(summary):
    """The summary in one line."""
    parts = [f'{summary["images"]} images: {summary["fix"]} fix, {summary["no_fix"]} no fix']
    parts += [f'{summary[s]} {s}' for s in ('error', 'missed') if summary[s]]
    figures = summary['fix_only']
    if figures['median_m'] is not None:
        parts.append(f'median error of fixes {figures["median_m"]:.1f} m')
        parts.append(f'{100 * summary["all"]["coverage_90_ellipse"]:.0f} % in 90 % ellipses')
    return ', '.join(parts)


def describe_sequence(summary):
    """The figures of the way as lines of text."""
    return sequence_metrics.describe(summary['sequence'] or {})


def _write_csv(path, judged):
    with writing(path) as temporary, temporary.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        for item in judged:
            fix = item.fix
            covariance = (None,) * 3
            if fix.covariance_m2 is not None:
                covariance = fix.covariance_m2[[0, 0, 1], [0, 1, 1]].tolist()
            writer.writerow([
                *(fix.stamp_ns, fix.status, fix.reason),
                *(fix.latitude, fix.longitude, fix.confidence),
                *covariance,
                *(item.truth or (None, None)),
                *(item.error_m, item.in_ellipse),
            ])  # fmt: skip


def geojson(judged, region, track=None):
    """Truth as a line, fixes as points, their 90 % ellipses as polygons: a FeatureCollection
    (RFC 7946: longitude first, outer rings counter-clockwise)."""
    features = []
    if track is not None:
        line = np.stack([track.longitudes, track.latitudes], axis=1).tolist()
        kind, line = ('LineString', line) if len(line) > 1 else ('Point', line[0])
        features.append(_feature(kind, line, kind='truth'))
    for item in judged:
        fix = item.fix
        if fix.latitude is None:
            continue
        about = {'stamp_ns': fix.stamp_ns, 'status': fix.status, 'error_m': item.error_m}
        ring = ellipse(item.position_m, fix.covariance_m2)
        lat, lon = region.to_latlon(*ring.T)
        features.append(
            _feature(
                'Point',
                [fix.longitude, fix.latitude],
                kind='fix',
                **about,
                confidence=fix.confidence,
                reason=fix.reason,
            )
        )
        polygon = [np.stack([lon, lat], axis=1).tolist()]
        features.append(_feature('Polygon', polygon, kind='ellipse_90', **about))
    return {'type': 'FeatureCollection', 'features': features}


def _feature(shape, coordinates, **properties):
    geometry = {'type': shape, 'coordinates': coordinates}
    return {'type': 'Feature', 'geometry': geometry, 'properties': properties}
