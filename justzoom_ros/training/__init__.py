"""Training: recipes, what a run sees, and how it is validated while it goes."""

from justzoom_ros.training.areas import Area
from justzoom_ros.training.recipe import TrainConfig
from justzoom_ros.training.train_recipe import AreaFolders, TrainRecipe, train
from justzoom_ros.training.trainer import Trainer

__all__ = ['Area', 'AreaFolders', 'TrainConfig', 'TrainRecipe', 'Trainer', 'train']
