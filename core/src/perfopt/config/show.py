"""The effective configuration as users may see it: every value, where it is from, and no secret."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import msgspec
import yaml

from perfopt.config.documents import YamlDocument
from perfopt.config.loading import SECTION_GROUP, Config, written
from perfopt.config.overrides import PLUGINS
from perfopt.config.paths import KeyPath, dotted

DEFAULT = "default"
REDACTED = "***"
_SECRET_KEY = re.compile(r"passw|token|secret|api[-_]?key|credential|private|authorization|cookie", re.I)
_URL_SECRETS = (  # a password, a NATS token in the place of a user, a parameter
    (re.compile(r"(?<=://)([^/@\s:]*):(\S+)@"), r"\1:***@"),
    (re.compile(r"(?<=nats://)[^/@\s:]+@"), "***@"),
    (re.compile(r"([?&][^=&\s]*(?:passw|token|secret|key)[^=&\s]*=)[^&\s]+", re.I), r"\1***"),
)


@dataclass(frozen=True)
class EffectiveConfig:
    """The effective configuration as plain data.

    Attributes:
        data: all settings, secrets redacted; `load_config` reads it again.
        origins: dotted path of each setting to where it is set: "file:line", a variable, "--set", "default".
    """

    data: dict[str, Any]
    origins: dict[str, str]

    def to_yaml(self) -> str:
        """Prints one setting a line, with where it is set as a comment."""
        return "".join(f"{line}\n" for line in self._lines(self.data, ()))

    def _lines(self, data: Mapping[str, Any], path: KeyPath) -> Iterator[str]:
        for key, value in data.items():
            here = (*path, key)
            head = f"{'  ' * len(path)}{_flow(key)}:"
            if isinstance(value, dict) and value:
                yield head
                yield from self._lines(value, here)
            else:
                yield f"{head} {_flow(value)}  # {self.origins[dotted(here)]}"


def effective(
    config: Config, plugins: Mapping[str, Mapping[str, Any]], document: YamlDocument
) -> EffectiveConfig:
    """Returns the effective configuration.

    Args:
        config: as loaded.
        plugins: name of a plugin to its effective settings.
        document: where the settings are set, with those of plugins below the plugin they belong to.
    """
    data = written(config)
    for point in entry_points(group=SECTION_GROUP):
        data[point.name] = msgspec.to_builtins(config.section(point.name, point.load()))
    data = redact(data | {PLUGINS: plugins})
    return EffectiveConfig(data, {dotted(path): _origin(document, path) for path in _leaves(data, ())})


def _leaves(data: Mapping[str, Any], path: KeyPath) -> Iterator[KeyPath]:
    for key, value in data.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key)


def _origin(document: YamlDocument, path: KeyPath) -> str:
    """Returns where a value is set; a mapping above it counts where it was given as a whole."""
    for length in range(len(path), 0, -1):
        here = path[:length]
        origin = document.origin(here)
        if origin is not None and (here == path or here in document.overrides or _whole(document, here)):
            return origin
    return DEFAULT


def _whole(document: YamlDocument, path: KeyPath) -> bool:
    """Returns whether a path holds something other than a mapping, such as the file of a price book."""
    value: Any = document.data
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value is not None and not isinstance(value, dict)


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def redact(value: Any, key: str = "") -> Any:
    """Replaces secrets in plain data: by the name of their key, and passwords within URLs."""
    if isinstance(value, dict):
        return {name: redact(item, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, key) for item in value]
    if not isinstance(value, str) or not value:
        return value
    if _SECRET_KEY.search(key) and not key.endswith("_file"):
        return REDACTED
    for pattern, shown in _URL_SECRETS:
        value = pattern.sub(shown, value)
    return value
