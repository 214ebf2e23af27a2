"""perfopt: recommends what would serve a Kubernetes workload better, and proves it on its own history."""

from importlib.metadata import version

__version__ = version("perfopt")
