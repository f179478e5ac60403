"""What an evaluation comes to: files, pictures and a table.

`write_results` makes summary.json and per_image.csv, `draw` errors.png and frames.png.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.evaluation import metrics
from justzoom_ros.evaluation.evaluate import Result, Results, locate_image
from justzoom_ros.evaluation.evaluate_figures import summarize
from justzoom_ros.evaluation.image_camera import CameraKnowledge
from justzoom_ros.files import output_folder, write_json, writing
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.inference.tree_search import SearchConfig
from justzoom_ros.localizer import Localizer
from justzoom_ros.plots.figures import Mark
from justzoom_ros.plots.fixes import Panel, draw_errors, draw_frames
from justzoom_ros.radii import RECALL_RADII_M

CSV_COLUMNS = (
    *('search', 'id', 'truth_latitude', 'truth_longitude', 'latitude', 'longitude', 'error_m'),
    *('guess_latitude', 'guess_longitude', 'guess_error_m', 'cell_hit', 'status', 'reason'),
    *('confidence', 'radius_90_m', 'truth_mass', 'truth_in_90_region', 'truth_in_90_ellipse'),
    *('heading_deg', 'heading_error_deg', 'off_map'),
)

NAME_WIDTH = 24
"""Letters of the first column of a table."""


def write_results(out: str | Path, results: Results, about: dict[str, Any]) -> dict[str, Any]:
    """Write summary.json (`about` and the figures of each search) and per_image.csv into the
    folder `out`; returns the summary. Raises OutputError."""
    folder = output_folder(out)
    summary = {**about, 'searches': {name: summarize(r) for name, r in results.items()}}
    write_json(folder / 'summary.json', summary)
    with writing(folder / 'per_image.csv') as temporary, temporary.open('w', newline='') as file:
        writer = csv.DictWriter(file, CSV_COLUMNS)
        writer.writeheader()
        for name, items in results.items():
            writer.writerows(_csv_row(name, item) for item in items)
    return summary


def _csv_row(search: str, result: Result) -> dict[str, Any]:
    image, fix = result.image, result.fix
    in_ellipse = metrics.in_ellipses(result.truth_m, result.fix_m, fix.covariance_m2)
    error_rad = result.heading_error_rad
    return {
        'search': search,
        'id': image.id,
        'truth_latitude': image.latitude,
        'truth_longitude': image.longitude,
        'latitude': fix.latitude,
        'longitude': fix.longitude,
        'error_m': float(np.hypot(*(result.fix_m - result.truth_m))),
        'guess_latitude': result.guess_latitude,
        'guess_longitude': result.guess_longitude,
        'guess_error_m': result.guess_error_m,
        'cell_hit': result.cell_hit,
        'status': fix.status,
        'reason': fix.reason,
        'confidence': fix.confidence,
        'radius_90_m': fix.radius_90_m,
        'truth_mass': result.truth_mass,
        'truth_in_90_region': result.held[0.9],
        'truth_in_90_ellipse': bool(in_ellipse[0]),
        'heading_deg': None if fix.yaw_rad is None else (90 - np.degrees(fix.yaw_rad)) % 360,
        'heading_error_deg': None if error_rad is None else float(np.degrees(error_rad)),
        'off_map': fix.off_map,
    }


def draw(
    out: Path,
    localizer: Localizer,
    results: Results,
    frames: int = 0,
    knowledge: CameraKnowledge | None = None,
) -> None:
    """Draw errors.png, the errors of the guesses of all searches, and, with `frames`, frames.png:
    that many images with their posteriors under the last search, largest error first. `knowledge`
    as `evaluate` had it."""
    errors_m = {name: [r.guess_error_m for r in items] for name, items in results.items()}
    draw_errors(errors_m, out / 'errors.png', 'Distance of the best guess from the truth')
    if not frames:
        return
    search = list(results)[-1]

    def posterior_of(result: Result) -> CellPosterior:
        if search == localizer.method:
            known = knowledge or CameraKnowledge(localizer.camera)
            fine = locate_image(localizer, result.image, known).require_posterior()
            return fine.coarsen(localizer.region)
        return localizer.posterior(result.image.load(), SearchConfig(method=search))

    worst = sorted(results[search], key=lambda result: -result.guess_error_m)[:frames]
    draw_frames(localizer.map, [_panel(r, posterior_of) for r in worst], out / 'frames.png')


def _panel(result: Result, posterior_of: Callable[[Result], CellPosterior]) -> Panel:
    fix, masses = result.fix, posterior_of(result).to_grid()
    mark = Mark(result.fix_m, fix.covariance_m2, fix.status, result.truth_m)
    title = f'{result.image.id}: {fix.status.replace("_", " ")}, confidence {fix.confidence:.2f}, '
    title += f'best guess {result.guess_error_m:.0f} m off'
    return Panel(title, result.image.load(), masses, mark)


def table(summary: dict[str, Any]) -> str:
    """The summary as lines of text: for each search a row for the guess and one for the fix, and
    why there was no fix."""
    radii = [f'{radius}m' for radius in RECALL_RADII_M]
    names = ['R@1', *(f'R@{radius}' for radius in radii), 'median', 'p90', 'heading', 'in 90%']
    lines = [summary['protocol'], ' ' * NAME_WIDTH + _joined([*names, 'fixes'])]
    for search, guess in summary['searches'].items():
        fix = guess['fix_position']
        inside = guess['coverage_90'], fix['coverage_90_ellipse']
        for name, figures, held in (('guess', guess, inside[0]), ('fix', fix, inside[1])):
            shares = [figures[key] for key in ('recall_cell', *(f'recall_{r}' for r in radii))]
            cells = [percent(share) for share in shares]
            cells += [f'{figures[key]:.1f} m' for key in ('median_m', 'p90_m')]
            cells += [degrees(guess['heading_median_deg']), percent(held)]
            cells.append(percent(guess['share_fix']))
            lines.append(f'{search} {name}'.ljust(NAME_WIDTH) + _joined(cells))
        lines[-1] += _reasons(guess['no_fix'])
    return '\n'.join(lines)


def _reasons(counts: dict[str, int]) -> str:
    listed = ', '.join(f'{count} {why}' for why, count in counts.items())
    return f'  no fix: {listed}' if listed else ''


def _joined(cells: list[str]) -> str:
    return ''.join(cell.rjust(9) for cell in cells)


def percent(share: float | None) -> str:
    """A share for people."""
    return '-' if share is None else f'{100 * share:.1f} %'


def degrees(angle_deg: float | None) -> str:
    """An angle for people."""
    return '-' if angle_deg is None else f'{angle_deg:.1f} deg'
