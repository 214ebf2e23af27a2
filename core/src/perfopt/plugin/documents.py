"""YAML with line numbers in its errors, for the data that plugins and their users bring."""

from perfopt.config.documents import Document, KeyPath, parse_yaml, read_yaml, suggestion
from perfopt.errors import InvalidInputError

__all__ = ["Document", "InvalidInputError", "KeyPath", "parse_yaml", "read_yaml", "suggestion"]
