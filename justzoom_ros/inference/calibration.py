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

    covariance_fixes: int = 0
    """Number of fixes that the factor was fitted on."""

    @property
    def known(self) -> bool:
        """True where a camera's own images were used, so that covariances may be called known."""
        return self.source == 'images'

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> 'Calibration':
        """From the JSON object in a weights file, of this version or an earlier one; keys that are
        neither are left out."""
        named = {FORMER_NAMES.get(key, key): value for key, value in stored.items()}
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in named.items() if key in known})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, as stored in the weights."""
        return asdict(self)
