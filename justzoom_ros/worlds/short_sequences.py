"""What short flights and short drives have in common: fixes beside the truth, as a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from justzoom_ros.evaluation.replay import ReplayedFix
from justzoom_ros.evaluation.replay_results import write_fixes
from justzoom_ros.evaluation.scored_fix import score_fix
from justzoom_ros.inference.fix import Fix
from justzoom_ros.io.bags import Track
from justzoom_ros.io.stamps import NS_PER_S
from justzoom_ros.region import Region

START_NS = 1_790_000_000 * NS_PER_S


def write_sequence(path: Path, fixes: Sequence[Fix], truth_m: np.ndarray, region: Region) -> None:
    """Write the `fixes.csv` of a sequence, one fix a second, with true places (N, 2), metres east
    and north. Raises OutputError."""
    stamps_ns = START_NS + np.arange(len(fixes)) * NS_PER_S
    rows = [
        ReplayedFix(
            int(stamp_ns), str(fix.status), fix.reason, fix.latitude, fix.longitude,
            fix.covariance_m2, fix.confidence,
        )
        for stamp_ns, fix in zip(stamps_ns, fixes, strict=True)
    ]  # fmt: skip
    latitudes, longitudes = (
        np.array(column)
        for column in zip(*(region.to_latlon(*one) for one in truth_m), strict=True)
    )
    track = Track(stamps_ns, latitudes, longitudes)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_fixes(path, [score_fix(row, region, track) for row in rows])
