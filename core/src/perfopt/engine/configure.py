"""Settings of plugins: what was written becomes what is in force, checked by the plugins' own types.

The types stand in the code of plugins, which may hang or crash. So values are checked in a process that
can be killed; without any setting in the configuration there is nothing to check.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from perfopt.config.describe import SettingField, SettingsFile, plain
from perfopt.config.documents import YamlDocument
from perfopt.config.loading import Config, EngineConfig
from perfopt.config.overrides import PLUGINS, spelled
from perfopt.config.paths import KeyPath, dotted, suggestion
from perfopt.domain.recommendation import AnalysisWarning
from perfopt.engine import messages
from perfopt.engine.allowlist import left_out
from perfopt.engine.child import ChildError, ChildProcess
from perfopt.engine.messages import CheckSettings
from perfopt.engine.probe import LOAD_SECONDS, WORKER, probe_plugins, set_up
from perfopt.engine.registry import PluginRegistry, PluginStatus
from perfopt.errors import InvalidInputError

MAX_FILE_BYTES = 32 * 2**20
_EMPTY = YamlDocument("", {})


@dataclass(frozen=True)
class PluginSettings:
    """The settings of all plugins that loaded.

    Attributes:
        values: name of a plugin to its effective settings as plain data, without files that are models.
        models: kind of model to the file that a setting names.
        document: the configuration with each setting below the plugin it belongs to, for origins.
        warnings: deprecated names that were used, and plugins to leave out that are not installed.
        shown: the effective settings as a user writes them: the path of a file in place of its content.
    """

    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    models: Mapping[str, SettingsFile] = field(default_factory=dict)
    document: YamlDocument = _EMPTY
    warnings: tuple[AnalysisWarning, ...] = ()
    shown: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def configure(
    registry: PluginRegistry, config: Config, deadline_seconds: float = LOAD_SECONDS
) -> PluginSettings:
    """Returns the effective settings of the installed plugins.

    Args:
        registry: what is installed.
        config: holds the settings as written.
        deadline_seconds: for a process to load the plugins, and for one plugin to check its settings.

    Raises:
        InvalidInputError: a setting that no plugin has, a wrong value, a file that can't be read, or a
            forecaster that is not installed; names the setting and where it is set.
    """
    _check_forecasters(registry, config)
    known = {info.name: info.settings for info in registry.plugins if info.status is PluginStatus.LOADED}
    document = YamlDocument(config.document.name, {}, config.document.lines, config.document.overrides)
    given = _GivenSettings(document, dict(config.unclaimed))
    given.warnings += _disabled_in_vain(registry, config)
    installed = tuple(info.name for info in registry.plugins)
    for name, settings in config.plugins.items():
        given.take(name, settings, known, installed)
    for name, fields in known.items():
        given.claim(name, fields)
    given.refuse_unclaimed()
    try:
        checked = _checked(registry, given, known, deadline_seconds)
    except InvalidInputError as error:
        raise given.as_written(error) from error
    return _effective(known, checked, given)


def check_settings(config: Config) -> None:
    """Checks the settings of plugins where there are any.

    Raises:
        InvalidInputError: as `configure`.
    """
    engine = config.engine
    if config.plugins or config.unclaimed or engine.disabled() or engine.chosen_forecasters():
        configure(probe_plugins(left_out(config.engine)), config)


def _check_forecasters(registry: PluginRegistry, config: Config) -> None:
    """Refuses names of forecasters that nothing installed has."""
    known = tuple(sorted({name for info in registry.plugins for name in info.forecasters}))
    for name in config.engine.chosen_forecasters():
        if name not in known:
            problem = f"There is no forecaster named {name!r}."
            config.document.fail(("engine", "forecasters"), problem, f"Installed: {', '.join(known)}.")


def _disabled_in_vain(registry: PluginRegistry, config: Config) -> list[AnalysisWarning]:
    """Returns a warning of each plugin to leave out that is not there: it may have been uninstalled."""
    known = tuple(dict.fromkeys(info.name for info in registry.plugins))
    return [
        AnalysisWarning(
            code="unknown_plugin",
            message=(
                f"engine.disabled_plugins names {name!r}, which is not installed: {', '.join(known)}."
                " Correct the name, or take it out."
            ),
        )
        for name in config.engine.disabled()
        if name not in known
    ]


class _GivenSettings:
    """The settings that were written, sorted by plugin; `document` says where each stands."""

    def __init__(self, document: YamlDocument, unclaimed: dict[str, Any]) -> None:
        self.document = document
        self.values: dict[str, dict[str, Any]] = {}
        self.warnings: list[AnalysisWarning] = []
        self._unclaimed = unclaimed
        self._written: dict[str, str] = {}

    def take(
        self,
        written: str,
        settings: Mapping[str, Any],
        known: Mapping[str, tuple[SettingField, ...]],
        installed: tuple[str, ...],
    ) -> None:
        """Takes the settings below the name of a plugin; those of one that did not load can't be checked."""
        name = spelled(written, dict.fromkeys(installed))
        if name not in installed:
            problem = f"There is no plugin {written!r}, so it has no settings."
            self.document.fail((PLUGINS, written), problem, suggestion(written, installed))
        if name not in known:
            return
        old = {one.deprecated for one in known[name]}
        names = tuple(one.name for one in known[name])
        for key in settings:
            if key not in names and dotted((PLUGINS, name, key)) not in old:
                self._unknown(name, (PLUGINS, written, key), names)
        self._move((PLUGINS, written), (PLUGINS, name))
        self.values[name] = dict(settings)

    def _unknown(self, plugin: str, path: KeyPath, names: tuple[str, ...]) -> NoReturn:
        remedy = f"It has: {', '.join(names)}." if names else "It has no settings: remove it."
        self.document.fail(path, f"The plugin {plugin!r} has no setting {path[-1]!r}.", remedy)

    def claim(self, plugin: str, fields: tuple[SettingField, ...]) -> None:
        """Reads settings by their old names: the new name goes first where both are given."""
        for one in fields:
            if one.deprecated is None:
                continue
            old = tuple(one.deprecated.split("."))
            section = self.values.get(plugin, {}) if old[:-1] == (PLUGINS, plugin) else self._unclaimed
            if old[-1] not in section or old[:-1] not in {(PLUGINS, plugin), ("engine",)}:
                continue
            value, new = section.pop(old[-1]), (PLUGINS, plugin, one.name)
            self._warn(one.deprecated, new)
            if one.name not in self.values.setdefault(plugin, {}):
                self.values[plugin][one.name] = value
                self._move(old, new)

    def _warn(self, old: str, new: KeyPath) -> None:
        place = self.document.where(tuple(old.split(".")))
        text = (
            f"The setting {old} ({place}) is deprecated and will be removed with the next minor version;"
            f" rename it to {dotted(new)}."
        )
        self.warnings.append(AnalysisWarning(code="deprecated_setting", message=text))

    def refuse_unclaimed(self) -> None:
        """Raises InvalidInputError for a setting of the engine that is no plugin's old name either."""
        for key in self._unclaimed:
            known = EngineConfig.__struct_encode_fields__
            self.document.fail(("engine", key), f"There is no field {key!r} here.", suggestion(key, known))

    def as_written(self, error: InvalidInputError) -> InvalidInputError:
        """Returns an error with the setting by the name that the user wrote, where that is another one."""
        for new, old in self._written.items():
            field = error.field or ""
            if field == new or field.startswith((f"{new}.", f"{new}[")):
                return InvalidInputError(error.message, field=old + field[len(new) :], remedy=error.remedy)
        return error

    def _move(self, old: KeyPath, new: KeyPath) -> None:
        """Has what was written at one path count as written at another."""
        if old == new:
            return
        self._written[dotted(new)] = dotted(old)
        lines = {**self.document.lines, **_below(self.document.lines, old, new)}
        overrides = {**self.document.overrides, **_below(self.document.overrides, old, new)}
        self.document = replace(self.document, lines=lines, overrides=overrides)


def _below[V](places: Mapping[KeyPath, V], old: KeyPath, new: KeyPath) -> dict[KeyPath, V]:
    size = len(old)
    return {(*new, *path[size:]): place for path, place in places.items() if path[:size] == old}


def _checked(
    registry: PluginRegistry,
    given: _GivenSettings,
    known: Mapping[str, tuple[SettingField, ...]],
    deadline_seconds: float,
) -> dict[str, dict[str, Any]]:
    """Has each plugin's own type check what is set of it, in a process of its own."""
    set_values = {name: values for name, values in given.values.items() if values}
    if not set_values:
        return {}
    only = frozenset((info.name, info.distribution) for info in registry.plugins if info.name in set_values)
    child = ChildProcess(WORKER)
    try:
        set_up(child, messages.SetupRequest(only=only), deadline_seconds)
        checked = {}
        for name, values in set_values.items():
            read = _with_files(given.document, name, values, known[name])
            child.send(messages.encode_request(CheckSettings(name, read, _without_secrets(given.document))))
            answer = messages.decode_settings(child.receive(deadline_seconds))
            if answer.error is not None:
                raise InvalidInputError(answer.error, field=answer.field, remedy=answer.remedy)
            checked[name] = answer.values
        return checked
    except ChildError as error:
        names = ", ".join(set_values)
        raise InvalidInputError(
            f"The settings of plugins can't be checked: checking {names} {error}.",
            field=PLUGINS,
            remedy="`perfopt plugin check` may say more.",
        ) from error
    finally:
        child.kill()


def _without_secrets(document: YamlDocument) -> YamlDocument:
    """Returns where the settings of plugins stand, and nothing else: foreign code is to see it."""
    lines = {path: line for path, line in document.lines.items() if path[0] == PLUGINS}
    overrides = {path: origin for path, origin in document.overrides.items() if path[0] == PLUGINS}
    return YamlDocument(document.name, {}, lines, overrides)


def _with_files(
    document: YamlDocument, plugin: str, values: Mapping[str, Any], fields: tuple[SettingField, ...]
) -> dict[str, Any]:
    """Puts the content of files in the place of their paths."""
    read = dict(values)
    for one in fields:
        if one.file and read.get(one.name) is not None:
            read[one.name] = plain(_file(document, (PLUGINS, plugin, one.name), read[one.name]))
    return read


def _file(document: YamlDocument, path: KeyPath, written: Any) -> SettingsFile:
    if not isinstance(written, str):
        document.fail(path, "Expected the path of a file.", "Correct the value.")
    file = Path(written)
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            document.fail(path, f"The file {file} is over 32 MiB.", "Name a smaller one.")
        return SettingsFile(path=written, content=file.read_bytes())
    except OSError as error:
        document.fail(path, f"{file} can't be read: {error.strerror}.", "Check the path and its mode.")


def _effective(
    known: Mapping[str, tuple[SettingField, ...]],
    checked: Mapping[str, dict[str, Any]],
    given: _GivenSettings,
) -> PluginSettings:
    models: dict[str, SettingsFile] = {}
    values: dict[str, dict[str, Any]] = {}
    shown: dict[str, dict[str, Any]] = {}
    for name, fields in known.items():
        if not fields:
            continue
        values[name] = {one.name: one.default for one in fields} | checked.get(name, {})
        shown[name] = {one.name: _shown(one, values[name][one.name]) for one in fields}
        for one in fields:
            if one.model is not None and values[name][one.name] is not None:
                models[one.model] = msgspec.convert(values[name].pop(one.name), SettingsFile)
    return PluginSettings(values, models, given.document, tuple(given.warnings), shown)


def _shown(one: SettingField, value: Any) -> Any:
    return value["path"] if one.file and value is not None else value
