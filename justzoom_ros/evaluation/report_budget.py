"""Pages stay small enough to be sent: what is left out of a long sequence."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from justzoom_ros.report.content import FrameView, Page

PICTURE_CHARACTERS = 12_000_000
"""All pictures of frames together, as text in a page."""

MAX_FRAMES = 5_000
"""Frames of a page at most."""

WORST_KEPT = 100
"""So many of the frames that failed keep their pictures at any rate."""


def within_budget(page: Page) -> Page:
    """The page, of a long sequence with fewer frames, and with pictures of every n-th only."""
    page = _fewer_frames(page)
    step = _picture_step(page.frames)
    if step == 1:
        return page
    keep = {*range(0, len(page.frames), step), *page.worst[:WORST_KEPT]}
    frames = [f if k in keep else _without_pictures(f) for k, f in enumerate(page.frames)]
    note = f'Pictures are kept of one {page.frame_word} in {step}, and of the worst.'
    return replace(page, frames=frames, note=f'{page.note} {note}'.strip())


def _fewer_frames(page: Page) -> Page:
    count = len(page.frames)
    if count <= MAX_FRAMES:
        return page
    step = -(-count // (MAX_FRAMES - WORST_KEPT))
    kept = sorted({*range(0, count, step), *page.worst[:WORST_KEPT]})
    number_of = {old: new for new, old in enumerate(kept)}
    return replace(
        page,
        frames=[page.frames[k] for k in kept],
        worst=[number_of[k] for k in page.worst if k in number_of],
        charts=[
            replace(chart, frame_x=[chart.frame_x[k] for k in kept]) if chart.frame_x else chart
            for chart in page.charts
        ],
        note=f'{len(kept)} of {count} {page.frame_word}s are in this page.',
    )


def _picture_step(frames: Sequence[FrameView]) -> int:
    characters = sum(map(picture_characters, frames))
    return max(1, -(-characters // PICTURE_CHARACTERS))


def picture_characters(frame: FrameView) -> int:
    """Length of the pictures of a frame in a page."""
    return sum(map(len, _uris(frame)))


def _uris(frame: FrameView) -> Iterable[str]:
    yield frame.image
    for heat in (frame.belief, frame.evidence):
        if heat is not None:
            yield heat.uri


def _without_pictures(frame: FrameView) -> FrameView:
    return replace(frame, image='', belief=None, evidence=None)
