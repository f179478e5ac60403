"""The network: encoder, causal decoder and the policy that joins them. Knows actions, not
geography."""

from justzoom_ros.model.config import PolicyConfig
from justzoom_ros.model.decoder import DecoderConfig
from justzoom_ros.model.encoder import ConvConfig, EncoderConfig
from justzoom_ros.model.policy import ZoomPolicy

__all__ = ['ConvConfig', 'DecoderConfig', 'EncoderConfig', 'PolicyConfig', 'ZoomPolicy']
