"""Where a policy runs, and the map embeddings that it computes once."""

from justzoom_ros.runtime.embeddings import MapEmbeddings, map_embeddings
from justzoom_ros.runtime.torch_runtime import RUNTIMES, open_runtime

__all__ = ['RUNTIMES', 'MapEmbeddings', 'map_embeddings', 'open_runtime']
