"""The demo: a drone flies over an invented town, or a car drives through a generated city, and the
real node says where it is, from nothing but its camera, its odometry and the map.

Everything is real but the place: the recording is a rosbag2, the lifecycle node runs in a process
of its own, images and fixes travel over DDS. They do so in a random domain of this machine alone,
so that no robot nearby hears of it.
"""

import math
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from justzoom_ros.errors import OutputError, RuntimeUnavailableError, WeightsError
from justzoom_ros.evaluation.replay_results import write_results
from justzoom_ros.evaluation.report import ReportWords
from justzoom_ros.files import output_folder, writing
from justzoom_ros.io.bags import IMAGE_TYPES, Bag, read_track
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.plots.figures import require_matplotlib
from justzoom_ros.worlds.aliases import Progress
from justzoom_ros.worlds.flight import TRUTH_TOPIC, FlightConfig, make_flight

REGISTERED: dict[str, Any] = {
    'camera_fov_deg': math.degrees(FlightConfig.fov_rad),
    'height_source': 'range',
    'height_std_m': 3.0,
    'attitude_source': 'gimbal',
}
"""Parameters of the node for the flight: the drone knows its lens, its height and its tilt."""

AHEAD: dict[str, Any] = {'camera_pitch_deg': 90.0, 'camera_fov_deg': 90.0}
"""Parameters of the node for the drive: the camera looks ahead, and its driver knows the lens."""

WITHIN_25_M_GOAL = 0.90
"""Share of the fixes that must lie within 25 m of the truth."""
COVERAGE_GOAL = 0.85
"""Share of the truths that must lie in the 90 % region that the node gave."""
SHARE_FIX_GOAL = 0.50
"""Share of the frames that must be fixes: who is never sure is never wrong."""


def run_demo(
    out: str | Path,
    config: FlightConfig | None = None,
    map_path: str | Path | None = None,
    weights: str | Path | None = None,
    progress: Progress | None = None,
    street: bool = False,
) -> dict[str, Any]:
    """Fly over the town, or with `street` drive through the city, localize over DDS, judge;
    returns the summary of `replay_results.write_results` with 'seconds_per_image' and 'goals_met'
    besides.

    The folder `out` receives flight/ or drive/ with the bag, node.yaml, node.log and the results
    of the replay. Both are registered with shipped weights that never saw town or city, unless
    `weights` of a policy are given. `config` is a `FlightConfig`; `map_path` is the shipped one
    unless given; `progress(items, name, total)` wraps what takes long. Raises JustZoomError.
    """
    progress = progress or (lambda items, name, total: items)
    map_path = Path(map_path or demo_map('city' if street else 'demo'))
    policy = Path(weights) if weights else None
    _check_needs(policy)
    from justzoom_ros.live.node_process import own_domain, running_node

    folder, satellite_map = output_folder(out), SatelliteMap.open(map_path)
    if street:
        # Only here: the city compiles with numba, which the flight does without.
        from justzoom_ros.worlds.city.drives import make_demo_drive

        bag_path = _record(folder / 'drive', lambda drive: make_demo_drive(drive, progress))
    else:
        fly = partial(make_flight, config=config, progress=partial(_count, progress, 'fly'))
        bag_path = _record(folder / 'flight', fly)
    # A policy of streets that is given works alone; all else is registered.
    parameters = ({} if policy else AHEAD) if street else REGISTERED
    with (
        own_domain(),
        running_node(folder, map_path, policy, **parameters) as alive,
        Bag(bag_path) as bag,
    ):
        track = read_track(bag, TRUTH_TOPIC)
        count = sum(bag.counts.values())
        fixes, seconds = _locate(bag, alive, lambda items: progress(items, 'locate', count))
    summary = write_results(folder, satellite_map, fixes, track, words=_words(street, weights))
    summary['seconds_per_image'] = seconds / max(len(fixes), 1)
    summary['goals_met'] = goals_met(summary)
    return summary


def _words(street: bool, weights: str | Path | None) -> ReportWords:
    """What the report is called."""
    unseen = 'city' if street else 'town'
    known = f'weights {weights}' if weights else f'registration that never saw the {unseen}'
    title = 'A drive through an invented city' if street else 'A flight over an invented town'
    return ReportWords(title, ('the real node, over DDS', known, 'started with no idea of place'))


def goals_met(summary: dict[str, Any]) -> bool:
    """True where the figures are at least those that the demo promises."""
    return all(share is not None and share >= goal for share, goal in _goals(summary).values())


def table(summary: dict[str, Any]) -> str:
    """The summary as lines for people."""
    figures, goals = summary['fix_only'], _goals(summary)
    median_m = figures['median_m']
    lines = [
        f'frames                       {summary["images"]:5d}',
        f'no fix (unsure)              {summary["no_fix"]:5d}',
        f'fixes                        {summary["fix"]:5d}',
        *(
            f'{name:29s}{_percent(share)}{_verdict(share, goal)}'
            for name, (share, goal) in goals.items()
        ),
        f'fixes within 10 m            {_percent(figures["recall_10m"])}',
        f'fixes within 50 m            {_percent(figures["recall_50m"])}',
        'median error of the fixes    ' + ('    -' if median_m is None else f'{median_m:5.1f} m'),
        f'time per frame               {1000 * summary["seconds_per_image"]:5.0f} ms',
    ]
    return '\n'.join(lines)


def _goals(summary):
    """What is promised: {name: (share, least share)}."""
    return {
        'frames with a fix': (summary['share_fix'], SHARE_FIX_GOAL),
        'fixes within 25 m': (summary['fix_only']['recall_25m'], WITHIN_25_M_GOAL),
        'truths in the 90 % regions': (summary['all']['coverage_90_ellipse'], COVERAGE_GOAL),
    }


def _percent(share):
    return '    -' if share is None else f'{100 * share:5.1f} %'


def _verdict(share, goal):
    met = share is not None and share >= goal
    return f'   goal {100 * goal:.0f} %: {"met" if met else "MISSED"}'


# --- what is needed ------------------------------------------------------------------------------


def demo_map(name: str = 'demo') -> Path:
    """The folder of a shipped map: in the repository, or where the package was installed.

    Raises RuntimeUnavailableError where it is in neither.
    """
    prefixes = [*filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep))]
    shares = [Path(prefix) / 'share' / 'justzoom_ros' for prefix in (*prefixes, sys.prefix)]
    for root in (Path(__file__).resolve().parents[2], *shares):
        if (root / 'maps' / name / 'map.yaml').is_file():
            return root / 'maps' / name
    raise RuntimeUnavailableError(
        f'maps/{name} is neither beside the package nor installed; run the demo in the repository'
    )


def _check_needs(weights):
    """Before anything takes time: are the weights, matplotlib and ROS there?"""
    if weights and not weights.is_file():
        raise WeightsError(f'{weights} does not exist; the demo needs weights trained for its map')
    require_matplotlib()
    try:
        import justzoom_ros.ros.transitions  # noqa: F401
    except ImportError as error:
        raise RuntimeUnavailableError(f'the demo needs ROS 2: {error}; source its setup') from None


def _count(progress, name, items):
    return progress(items, name, len(items))


def _record(folder, make):
    """Make a folder with a bag in place of an older one, but of nothing else; returns the bag's
    path. `make(folder)` fills it."""
    if folder.exists() and not (folder / 'bag' / 'metadata.yaml').is_file():
        raise OutputError(f'{folder} exists and is none of the demo; choose another place')
    with writing(folder) as temporary:
        temporary.mkdir()
        make(temporary)
    return folder / 'bag'


# --- the node ------------------------------------------------------------------------------------


def _locate(bag, alive, progress):
    """Bring the node up, show it the bag; returns the ReplayedFixes and the seconds they took."""
    from justzoom_ros.live.node_process import NODE
    from justzoom_ros.ros.live_replay import LiveNode, replay_live
    from justzoom_ros.ros.transitions import LifecycleClient

    with LifecycleClient(NODE, alive) as driver:
        driver.change('configure')
        driver.change('activate')
        topic = bag.topic(IMAGE_TYPES)
        with LiveNode(bag.topics, topic, draws=True) as node:
            node.wait_until_there()
            started_s = time.monotonic()
            fixes = list(replay_live(bag, topic, node, progress=progress))
            seconds = time.monotonic() - started_s
            fixes = node.with_beliefs(fixes)
        driver.change('deactivate')
    return fixes, seconds
