"""A short form of `test/fuzzed.py`: messages, bags and rasters of random damage."""

import fuzzed
import pytest


@pytest.mark.slow
@pytest.mark.parametrize(('kind', 'count'), [('messages', 300), ('bags', 60), ('rasters', 40)])
def test_random_damage_is_answered_or_refused_by_name(kind, count):
    found = fuzzed.fuzz(kind, count)
    assert sum(number for what, number in found.items() if what not in fuzzed.FIGURES) == count
    assert found['growth MB'] < 100
