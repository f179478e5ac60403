"""What was fitted on data kept back: how sure a policy, a frame and a covariance may be."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

FORMER_NAMES = {
    'count': 'temperature_samples',
    'nll_before': 'temperature_nll_before',
    'nll_after': 'temperature_nll_after',
    'exponent': 'likelihood_exponent',
    'exponent_ways': 'exponent_sequences',
}
"""Keys that weights of earlier versions hold; they are read, and written under the new name."""


@dataclass(frozen=True)
class Promise:
    """What holds of the fixes of another sequence like those that it was fitted on: from the same
    kind of places, cameras and seasons. docs/calibration.md explains it."""

    group: str
    """Of which fixes: 'tracking', in the light of the frames before, or 'single'."""

    sequences: int
    """Number of sequences with fixes that it was fitted on."""

    fixes: int
    """Number of their fixes through the gate."""

    alpha: float
    """No greater share (0..1) of a sequence's fixes is false, on average over sequences: the truth
    lies outside the published 99 % ellipse."""

    delta: float
    """With confidence 1 - delta (0..1)."""

    min_confidence: float
    """The gate: least mass (0..1) of the first hypothesis of a fix."""

    false_share: float
    """Share (0..1) that was false, on average over the sequences."""

    gross_sequences: int
    """Number of sequences with a fix whose truth lay outside three times the 99 % ellipse."""

    gross_bound: float
    """What the share (0..1) of such sequences does not exceed, with confidence 1 - delta."""

    radii: dict[str, float]
    """{probability: squared Mahalanobis radius} of the regions that hold the truth of a fix with
    at least this probability; 1.39, 4.61, 5.99 and 9.21 were errors normal."""

    fitted_on: str
    """What it was fitted on, in words."""

    def __str__(self) -> str:
        """For people, in a line."""
        return (
            f'{self.group}: at most {self.alpha:.1%} of fixes false at {1 - self.delta:.0%} '
            f'confidence, from {self.sequences} sequences of {self.fitted_on}'
        )


@dataclass(frozen=True)
class Calibration:
    """Kept in the weights; the defaults are those of weights that were never calibrated."""

    temperature: float = 1.0
    """What the logits of the policy are divided by (Guo et al., arXiv 1706.04599)."""

    source: str = ''
    """What the temperature was fitted on: 'views' of the map, 'images' of a camera, or ''."""

    temperature_samples: int = 0
    """Number of views or images."""

    temperature_nll_before: float = 0.0
    """Negative log-likelihood of the true terminal cell at temperature 1, nats."""

    temperature_nll_after: float = 0.0
    """The same at the fitted temperature, nats."""

    likelihood_exponent: float = 0.5
    """How much one frame of many may say: its likelihood is raised to this power (0..1]."""

    exponent_sequences: int = 0
    """Number of sequences that the exponent was fitted on."""

    exponent_frames: int = 0
    """Number of their frames."""

    exponent_nll_before: float = 0.0
    """Mean negative logarithm of the mass within 50 m of the truth with exponent 1, nats."""

    exponent_nll_after: float = 0.0
    """The same with the fitted exponent, nats."""

    covariance_scale: float = 1.0
    """Factor on the covariances of tracked fixes."""

    covariance_floor_m: float = 0.0
    """Error along each axis, metres, that the frames of a place and day share: added to the
    covariances of tracked fixes after the factor."""

    covariance_fixes: int = 0
    """Number of fixes that factor and shared error were fitted on."""

    single_scale: float = 1.0
    """Factor on the covariances of the fixes of single registered frames."""

    single_floor_m: float = 0.0
    """As `covariance_floor_m`, of single frames."""

    promises: tuple[Promise, ...] = ()
    """What is promised of fixes, one for each group."""

    @property
    def known(self) -> bool:
        """True where a camera's own images or sequences were used, so that covariances may be
        called known."""
        return self.source == 'images' or bool(self.promises)

    def knows(self, group: str) -> bool:
        """Whether covariances of the fixes of a group may be called known: 'tracking' or
        'single'."""
        return self.source == 'images' or self.promise(group) is not None

    def promise(self, group: str) -> Promise | None:
        """What is promised of the fixes of a group, None where nothing is."""
        return next((each for each in self.promises if each.group == group), None)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> 'Calibration':
        """From the JSON object in a weights file, of this version or an earlier one; keys that are
        neither are left out."""
        named = {FORMER_NAMES.get(key, key): value for key, value in stored.items()}
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in named.items() if key in known}
        values['promises'] = tuple(Promise(**each) for each in values.get('promises', ()))
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, as stored in the weights."""
        return asdict(self)
