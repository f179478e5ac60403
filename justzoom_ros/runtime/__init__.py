"""Where a policy runs, and the map embeddings that it computes once."""

from justzoom_ros.runtime.choice import RUNTIMES, open_runtime
from justzoom_ros.runtime.embeddings import MapEmbeddings, map_embeddings

__all__ = ['RUNTIMES', 'MapEmbeddings', 'map_embeddings', 'open_runtime']
