"""Training: the recipe, what it sees, and how it is judged while it runs."""

from justzoom_ros.training.areas import Area
from justzoom_ros.training.recipe import TrainConfig
from justzoom_ros.training.trainer import Trainer

__all__ = ['Area', 'TrainConfig', 'Trainer']
