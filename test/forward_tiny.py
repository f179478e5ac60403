"""A network for cameras that look ahead which is small enough to train in a test."""

from justzoom_ros.registration.config import RegistrationConfig
from justzoom_ros.registration.forward_config import ForwardConfig

SMALL = ForwardConfig(
    map=RegistrationConfig(channels=4, widths=(8, 8), blocks=(1, 1), normalization_px=33),
    widths=(8, 8, 16),
    blocks=(1, 1, 1),
    depths=12,
    reach_m=24.0,
    polar_width=8,
    polar_blocks=1,
)
