"""What weights were trained on, and how well: for people, and inside the weights file."""

from dataclasses import asdict
from pathlib import Path

from justzoom_ros.files import writing
from justzoom_ros.training.registration.imagery import Place
from justzoom_ros.training.registration.recipe import RegistrationRecipe

LIMITS = (
    'Downward views, lifted to the ground plane, at 0.3 to 2 m per pixel; height known to about '
    '10 %, or searched. Night, snow and thermal pictures were not in the training. Tall buildings '
    'seen from low down lean too far. Bare water and even fields cannot be told apart.'
)


def make_card(
    recipe: RegistrationRecipe, places: list[Place], judges: list[Place], figures: dict
) -> dict:
    """The card: imagery with its licences, recipe, figures on places that judged, limits."""
    return {
        'trained_on': _credits(places),
        'judged_on': _credits(judges),
        'recipe': asdict(recipe),
        'figures': {name: round(float(value), 4) for name, value in figures.items()},
        'limits': LIMITS,
    }


def write_card(path: str | Path, card: dict) -> None:
    """The card as a Markdown file. Raises OutputError."""
    figures = card['figures']
    lines = [
        '# Registration weights',
        '',
        'Place-independent features for downward cameras over overhead maps.',
        '',
        *([f'Name: {card["name"]}, {card["date"]}', ''] if 'name' in card else []),
        '## Trained on',
        *_listed(card['trained_on']),
        '',
        '## Judged on (never trained on)',
        *_listed(card['judged_on']),
        '',
        *(['## Training', card['training'], ''] if 'training' in card else []),
        '## Figures on tiles of 192 x 192 pixels of the places that judged',
        *(f'- {name}: {value:g}' for name, value in figures.items()),
        '',
        '## Limits',
        card['limits'],
    ]
    with writing(path) as temporary:
        temporary.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def _credits(places: list[Place]) -> dict[str, int]:
    """{'place (licence)': how many pictures}; generated towns as one."""
    found: dict[str, int] = {}
    for place in places:
        name = 'generated towns' if place.generated else place.name
        key = f'{name} ({place.licence})'
        found[key] = found.get(key, 0) + len(place.pictures)
    return found


def _listed(found: dict[str, int]) -> list[str]:
    return [f'- {name}: {count} picture{"s" * (count > 1)}' for name, count in found.items()]
