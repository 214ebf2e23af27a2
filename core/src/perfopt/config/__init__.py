"""Configuration: one YAML file overridden by the environment, and what its sections mean."""

from perfopt.config.loading import Config, load_config

__all__ = ["Config", "load_config"]
