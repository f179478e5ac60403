"""The network: encoder, causal decoder and the policy that joins them. Knows actions, not
geography."""

from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.models.conv_encoder import ConvConfig
from justzoom_ros.models.decoder import DecoderConfig
from justzoom_ros.models.encoder import ENCODERS, Encoder, EncoderConfig
from justzoom_ros.models.policy import ZoomPolicy

__all__ = [
    'ENCODERS',
    'ConvConfig',
    'DecoderConfig',
    'Encoder',
    'EncoderConfig',
    'PolicyConfig',
    'ZoomPolicy',
]
