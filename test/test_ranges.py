"""Ranges of configuration fields: what is inside, in which words, and who is named."""

import math
from dataclasses import dataclass

import pytest

from justzoom_ros.errors import ConfigError
from justzoom_ros.ranges import Range, check_ranges, ranged


@pytest.mark.parametrize(
    ('bounds', 'words', 'inside', 'outside'),
    [
        ({}, 'finite', [0, -5, 1e30], [math.nan, math.inf, -math.inf]),
        ({'at_least': 0}, 'at least 0', [0, 7], [-1e-9, math.inf, math.nan]),
        ({'above': 0, 'at_most': 1}, 'above 0 and at most 1', [1e-9, 1], [0, 1.001]),
        ({'at_least': 0, 'below': 1}, 'at least 0 and below 1', [0, 0.999], [1, math.nan]),
    ],
)
def test_a_range_holds_its_numbers_and_says_so_in_words(bounds, words, inside, outside):
    allowed = Range(**bounds)
    assert str(allowed) == words
    assert all(value in allowed for value in inside)
    assert not any(value in allowed for value in outside)


@dataclass(frozen=True)
class Settings:
    share: float = ranged(0.5, above=0, below=1)
    speed_m_s: float | None = ranged(None, at_least=0)
    name: str = ''

    def __post_init__(self):
        check_ranges(self)


def test_the_field_that_is_out_of_its_range_is_named_with_its_value():
    assert Settings().speed_m_s is None
    assert Settings(share=0.1, speed_m_s=3.0).share == 0.1
    with pytest.raises(ConfigError, match=r'^share is 1; it must be above 0 and below 1$'):
        Settings(share=1.0)
    with pytest.raises(ConfigError, match=r'^speed_m_s is nan; it must be at least 0$'):
        Settings(speed_m_s=math.nan)
