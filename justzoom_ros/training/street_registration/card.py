"""What weights of the forward registration were trained on, for people and inside the file."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from justzoom_ros.files import writing
from justzoom_ros.training.street_registration.recipe import StreetRecipe

LIMITS = (
    'Generated cities alone: these weights have never seen a real street, nor a real orthophoto. '
    'An early prototype of the same kind, tried on ten real photos, knew less than nothing: do '
    'not trust fixes of real cameras before measuring them. Flat ground, one map pixel of about a '
    'metre, views of 55 to 115 degrees near the horizon, tilted by a few degrees at most, eyes '
    '1.2 to 2.7 m above the ground, mostly by day. Snow, hills, tunnels and indoor scenes were '
    'not in the training.'
)


def make_card(recipe: StreetRecipe, lessons: int, figures: dict[str, Any]) -> dict[str, Any]:
    """The card: cities, recipe, figures on cities kept back, limits."""
    return {
        'trained_on': f'{lessons} generated cities (Apache-2.0, drawn by justzoom_ros)',
        'recipe': asdict(recipe),
        'figures': figures,
        'limits': LIMITS,
    }


def write_card(path: str | Path, card: dict[str, Any]) -> None:
    """The card as a Markdown file. Raises OutputError."""
    lines = [
        '# Weights of the forward registration',
        '',
        'Place-independent features for cameras that look ahead, over overhead maps. Trained on '
        'generated cities.',
        '',
        '## Trained on',
        card['trained_on'],
        '',
        *(['## Training', card['training'], ''] if 'training' in card else []),
        '## Figures on cities kept back',
        *(f'- {name}: {value:g}' for name, value in card['figures'].items()),
        '',
        '## Limits',
        card['limits'],
    ]
    with writing(path) as temporary:
        Path(temporary).write_text('\n'.join(lines) + '\n', encoding='utf-8')
