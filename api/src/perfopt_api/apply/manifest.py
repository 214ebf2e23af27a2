"""Manifests as YAML that people read."""

from typing import Any

import yaml


class LiteralBlock(str):
    """Text that YAML prints as a literal block."""

    __slots__ = ()


class _ManifestDumper(yaml.SafeDumper):
    """Prints literal blocks and no aliases, which nobody wants to read in a manifest."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def _represent_block(dumper: yaml.SafeDumper, text: LiteralBlock) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")


_ManifestDumper.add_representer(LiteralBlock, _represent_block)


def to_yaml(value: Any) -> str:
    """Prints a manifest, keys in their own order."""
    return yaml.dump(value, Dumper=_ManifestDumper, sort_keys=False, allow_unicode=True, width=1000)
