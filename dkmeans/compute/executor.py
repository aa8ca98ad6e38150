from dkmeans.compute.cluster import Cluster as Executor

__all__ = ["Executor"]
