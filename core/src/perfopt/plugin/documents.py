"""YAML with line numbers in its errors, for the data that plugins and their users bring."""

from perfopt.config.documents import KeyPath, YamlDocument, parse_yaml, read_yaml, suggestion
from perfopt.errors import InvalidInputError

__all__ = ["InvalidInputError", "KeyPath", "YamlDocument", "parse_yaml", "read_yaml", "suggestion"]
