"""The network: encoder, causal decoder and the policy that joins them. Knows actions, not
geography."""

from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.models.decoder import DecoderConfig
from justzoom_ros.models.encoder import ConvConfig, EncoderConfig
from justzoom_ros.models.policy import ZoomPolicy

__all__ = ['ConvConfig', 'DecoderConfig', 'EncoderConfig', 'PolicyConfig', 'ZoomPolicy']
