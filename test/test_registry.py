"""Choices by name: found lazily, listed in order, unknown ones refused with the list."""

import sys

import pytest

from justzoom_ros.errors import ConfigError, ImageError
from justzoom_ros.registry import Registry


def test_names_are_listed_in_order_and_nothing_is_imported_before_it_is_asked_for():
    sys.modules.pop('this', None)
    registry = Registry('thing', {'b': 'this:d', 'a': 3})
    assert registry.list() == ('b', 'a')
    assert registry.get('a') == 3
    assert 'this' not in sys.modules
    registry = Registry('thing', {'join': 'os.path:join'})
    assert registry.get('join')('a', 'b') == 'a/b'
    assert registry.get('join') is registry.get('join')


def test_an_unknown_name_is_refused_with_the_list():
    registry = Registry('sieve', {'fine': 1, 'coarse': 2}, ImageError)
    with pytest.raises(ImageError, match=r"sieve 'none' is not known; choose of fine, coarse"):
        registry.get('none')


def test_a_registered_choice_is_there_and_its_name_is_taken():
    registry = Registry('sieve', {'fine': 1})
    registry.register('coarse', 'os.path:join')
    assert registry.list() == ('fine', 'coarse')
    assert registry.get('coarse')('a', 'b') == 'a/b'
    with pytest.raises(ConfigError, match="'fine' is there already"):
        registry.register('fine', 2)
