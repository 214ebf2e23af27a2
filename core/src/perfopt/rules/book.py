"""Which rules hold for a workload: packs by layer, what is enabled, and their parameters.

Layers, each above the one before: shipped, plugin, installation, namespace; the annotations of a workload
are the last and bring no rules, only names of packs and parameters. None widens what a safety pack bounds.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import msgspec

from perfopt.config.loading import NamespaceRules, RulesConfig
from perfopt.config.paths import suggestion
from perfopt.domain.recommendation import AnalysisWarning
from perfopt.domain.workload import Workload
from perfopt.errors import InvalidInputError
from perfopt.rules.active import ActivePack
from perfopt.rules.apply import RuleSet
from perfopt.rules.compiled import CompiledPack, compile_pack
from perfopt.rules.language import plain_parameters
from perfopt.rules.pack import PackParameter, ParameterValue, RulePack
from perfopt.rules.reading import read_packs, shipped_packs
from perfopt.rules.units import parse_parameter, show_parameter

ANNOTATION = "perfopt.io/rules"
_NOT_IN_LABELS = re.compile(r"[^a-z0-9]")


class RuleLayer(IntEnum):
    """Where a pack is from; rules run in this order."""

    SHIPPED = 0
    PLUGIN = 1
    INSTALLATION = 2
    NAMESPACE = 3


class LayeredPack(msgspec.Struct, frozen=True):
    """A pack and its layer; `namespace` is the one it is for, None is all."""

    pack: RulePack
    layer: RuleLayer
    namespace: str | None = None


class RuleSources(msgspec.Struct, frozen=True):
    """All that decides which rules hold, as plain data that travels to worker processes."""

    packs: tuple[LayeredPack, ...]
    config: RulesConfig = RulesConfig()

    @classmethod
    def read(cls, config: RulesConfig, plugin_files: Sequence[str] = ()) -> "RuleSources":
        """Reads the packs that the configuration names and adds those shipped and of plugins.

        Raises:
            InvalidInputError: a wrong pack, two of one name, or a reference to nothing.
        """
        own: list[tuple[RulePack, RuleLayer, str | None]] = [
            (p, RuleLayer.SHIPPED, None) for p in shipped_packs()
        ]
        own += [(pack, RuleLayer.PLUGIN, None) for pack in read_packs(tuple(plugin_files))]
        own += [(pack, RuleLayer.INSTALLATION, None) for pack in read_packs(names(config.packs))]
        local = [
            (pack, RuleLayer.NAMESPACE, namespace)
            for namespace, rules in config.namespaces.items()
            for pack in read_packs(names(rules.packs))
        ]
        packs = tuple(LayeredPack(*one) for one in (*own, *local))
        _check_names(packs)
        _check_config(packs, config)
        return cls(packs, config)


def names(given: str | tuple[str, ...]) -> tuple[str, ...]:
    """Returns a list of names that may have been given as text with commas."""
    listed = given.split(",") if isinstance(given, str) else given
    return tuple(name.strip() for name in listed if name.strip())


@dataclass
class PackSetting:
    """A pack on its way through the layers: whether it takes part, and its parameters."""

    layered: LayeredPack
    enabled: bool
    values: dict[str, ParameterValue] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """Returns it as plain data for people, parameters as they would be written."""
        pack = self.layered.pack
        return {
            "name": pack.name,
            "version": pack.version,
            "description": pack.description,
            "layer": self.layered.layer.name.lower(),
            "enabled": self.enabled,
            "safety": pack.safety,
            "priority": pack.priority,
            "origin": pack.origin,
            "rules": [rule.name for rule in pack.rules],
            "parameters": {name: show_parameter(p, self.values[name]) for name, p in pack.parameters.items()},
        }


class RuleBook:
    """Answers which rules hold for a workload. Compiles each pack once.

    Args:
        sources: of `RuleSources.read`.
    """

    def __init__(self, sources: RuleSources) -> None:
        self._sources = sources
        self._compiled: dict[str, CompiledPack] = {}
        self._sets: dict[tuple[Any, ...], tuple[RuleSet, tuple[AnalysisWarning, ...]]] = {}

    @property
    def metrics(self) -> frozenset[str]:
        """Names of the metrics that conditions read, beside those read for every analysis."""
        return frozenset(name for one in self._sources.packs for name in self._pack(one.pack).metrics)

    def rules_for(self, workload: Workload) -> RuleSet:
        """Returns the rules that hold for a workload."""
        return self._for(workload)[0]

    def warnings_for(self, workload: Workload) -> tuple[AnalysisWarning, ...]:
        """Returns what is wrong with the annotations of a workload; the rest of them holds."""
        return self._for(workload)[1]

    def _for(self, workload: Workload) -> tuple[RuleSet, tuple[AnalysisWarning, ...]]:
        mark = _plain(ANNOTATION)
        own = {key: text for key, text in workload.annotations.items() if _plain(key).startswith(mark)}
        key = (workload.id.namespace, *sorted(own.items()))
        if key not in self._sets:
            if len(self._sets) >= 1024:  # annotations are free text: a bound on what they can hold on to
                self._sets.clear()
            self._sets[key] = self._select(workload, own)
        return self._sets[key]

    def _select(
        self, workload: Workload, annotations: Mapping[str, str]
    ) -> tuple[RuleSet, tuple[AnalysisWarning, ...]]:
        settings = configured(self._sources, workload.id.namespace)
        problems = [
            problem
            for key, text in sorted(annotations.items())
            if (problem := _annotate(settings, key, text)) is not None
        ]
        active = [self._active(one) for one in _ordered(settings.values()) if one.enabled]
        warnings = tuple(
            AnalysisWarning(code="rules_annotation", message=f"An annotation of {workload.id}: {problem}")
            for problem in problems
        )
        return RuleSet(active, self._sources.config.clusters), warnings

    def _active(self, setting: PackSetting) -> ActivePack:
        parameters = plain_parameters(setting.values)
        exchange = parameters.get("params.exchange")
        return ActivePack(self._pack(setting.layered.pack), parameters, exchange)

    def _pack(self, pack: RulePack) -> CompiledPack:
        if pack.name not in self._compiled:
            self._compiled[pack.name] = compile_pack(pack)
        return self._compiled[pack.name]


def pack_settings(sources: RuleSources, namespace: str = "") -> tuple[PackSetting, ...]:
    """Returns the packs as they are configured for a namespace, in the order they run."""
    return tuple(_ordered(configured(sources, namespace).values()))


def configured(sources: RuleSources, namespace: str) -> dict[str, PackSetting]:
    """Returns what the configuration says of each pack in a namespace, by name of the pack."""
    config = sources.config
    local = config.namespaces.get(namespace, NamespaceRules())
    settings = {
        one.pack.name: PackSetting(
            one, one.pack.enabled, {n: p.default for n, p in one.pack.parameters.items()}
        )
        for one in sources.packs
        if one.namespace in (None, namespace)
    }
    for rules in (config, local):
        for name in names(rules.enable):
            settings[name].enabled = True
        for name in names(rules.disable):
            settings[name].enabled = False
        for name, values in rules.parameters.items():
            for parameter, value in values.items():
                declared = settings[name].layered.pack.parameters[parameter]
                parsed, old = parse_parameter(declared, value), settings[name].values[parameter]
                safety = settings[name].layered.pack.safety
                settings[name].values[parameter] = tightest(declared, old, parsed) if safety else parsed
    return settings


def _ordered(settings: Iterable[PackSetting]) -> list[PackSetting]:
    def place(setting: PackSetting) -> tuple[bool, int, int, str]:
        pack = setting.layered.pack
        return pack.safety, setting.layered.layer, pack.priority, pack.name

    return sorted(settings, key=place)


def tightest(declared: PackParameter, old: ParameterValue, new: ParameterValue) -> ParameterValue:
    """Returns the stricter of two values; the old one where the parameter has no direction."""
    if declared.tighten == "more":
        assert isinstance(old, tuple)
        assert isinstance(new, tuple)
        return tuple(dict.fromkeys((*old, *new)))
    if declared.tighten is None:
        return old
    better: Any = max if declared.tighten == "higher" else min
    stricter: ParameterValue = better(old, new)
    return stricter


def _plain(key: str) -> str:
    """Returns a key as kube-state-metrics spells it in a label: all but letters and digits is `_`."""
    return _NOT_IN_LABELS.sub("_", key.lower())


def _annotate(settings: Mapping[str, PackSetting], key: str, text: str) -> str | None:
    """Applies one annotation; returns what is wrong with it, if anything."""
    if _plain(key) == _plain(ANNOTATION):
        unknown = [name for name in names(text) if name not in settings]
        for name in names(text):
            if name in settings:
                settings[name].enabled = True
        return f"there is no rule pack {unknown[0]!r}." if unknown else None
    named = [
        (setting, name, declared)
        for setting in settings.values()
        for name, declared in setting.layered.pack.parameters.items()
        if _plain(f"{ANNOTATION}.{setting.layered.pack.name}.{name}") == _plain(key)
    ]
    if len(named) != 1:
        return f"{key} names no parameter of a rule pack."
    setting, parameter, declared = named[0]
    try:
        value = parse_parameter(declared, text)
    except InvalidInputError as error:
        return f"{key}: {error.message} {error.remedy or ''}".strip()
    if not setting.layered.pack.safety and declared.tighten is None:
        setting.values[parameter] = value
        return None
    kept = tightest(declared, setting.values[parameter], value)
    setting.values[parameter] = kept
    if kept != value and declared.tighten != "more":
        return f"{key} may not loosen the rule; {show_parameter(declared, kept)} holds."
    return None


def _check_names(packs: Iterable[LayeredPack]) -> None:
    seen: dict[str, LayeredPack] = {}
    for one in packs:
        if one.pack.name in seen:
            other = seen[one.pack.name].pack.origin
            raise InvalidInputError(
                f"Two rule packs are named {one.pack.name!r}: {other} and {one.pack.origin}.",
                remedy="Give one of them another name.",
            )
        seen[one.pack.name] = one


def _check_config(packs: Sequence[LayeredPack], config: RulesConfig) -> None:
    _check_section(packs, config, None, "rules")
    for namespace, rules in config.namespaces.items():
        _check_section(packs, rules, namespace, f"rules.namespaces.{namespace}")


def _check_section(
    packs: Sequence[LayeredPack], rules: RulesConfig | NamespaceRules, namespace: str | None, path: str
) -> None:
    known = {one.pack.name: one.pack for one in packs if one.namespace in (None, namespace)}
    for key, given in (("enable", names(rules.enable)), ("disable", names(rules.disable))):
        for name in given:
            _known(name, known, f"{path}.{key}")
            if key == "disable" and known[name].safety:
                raise InvalidInputError(
                    f"{name} is a safety pack and can't be switched off.",
                    field=f"{path}.{key}",
                    remedy="Its parameters may be tightened.",
                )
    for name, values in rules.parameters.items():
        _known(name, known, f"{path}.parameters")
        for parameter, value in values.items():
            _check_value(known[name], parameter, value, f"{path}.parameters.{name}")


def _check_value(pack: RulePack, parameter: str, value: Any, path: str) -> None:
    _known(parameter, pack.parameters, path)
    declared = pack.parameters[parameter]
    try:
        parsed = parse_parameter(declared, value)
    except InvalidInputError as error:
        raise InvalidInputError(error.message, field=f"{path}.{parameter}", remedy=error.remedy) from error
    widened = tightest(declared, declared.default, parsed) != parsed and declared.tighten != "more"
    if pack.safety and widened:
        raise InvalidInputError(
            f"{value!r} would widen what the safety pack {pack.name} bounds.",
            field=f"{path}.{parameter}",
            remedy=f"Its own value is {show_parameter(declared, declared.default)}.",
        )


def _known(name: str, known: Mapping[str, Any], path: str) -> None:
    if name not in known:
        raise InvalidInputError(
            f"There is no {name!r}.", field=path, remedy=suggestion(name, tuple(sorted(known)))
        )
