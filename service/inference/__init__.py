"""Models in memory: sessions, the registry, and the path from tensors to an answer."""
