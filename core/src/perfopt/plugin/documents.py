"""YAML with line numbers in its errors, for the data that plugins and their users bring."""

from perfopt.config.documents import YamlDocument, parse_yaml, read_yaml
from perfopt.config.paths import KeyPath, suggestion
from perfopt.errors import InvalidInputError

__all__ = ["InvalidInputError", "KeyPath", "YamlDocument", "parse_yaml", "read_yaml", "suggestion"]
