"""Training: the recipe, what it sees, and how it is judged while it runs."""

from justzoom_ros.train.areas import Area
from justzoom_ros.train.recipe import TrainConfig
from justzoom_ros.train.trainer import Trainer

__all__ = ['Area', 'TrainConfig', 'Trainer']
