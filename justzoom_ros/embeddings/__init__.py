"""What the networks say of a map, computed once and kept on disk."""

from justzoom_ros.embeddings.cell_embeddings import MapEmbeddings, map_embeddings

__all__ = ['MapEmbeddings', 'map_embeddings']
