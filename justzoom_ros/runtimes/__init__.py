"""Where a policy runs: torch, ONNX Runtime, TensorRT, and how one is chosen."""

from justzoom_ros.runtimes.registry import ENGINES, RUNTIMES, open_runtime

__all__ = ['ENGINES', 'RUNTIMES', 'open_runtime']
