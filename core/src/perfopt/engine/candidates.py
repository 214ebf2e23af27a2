"""The entry points of the plugin group among what is installed, found without importing a plugin."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distribution, distributions, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from perfopt.config.describe import describe
from perfopt.engine.contributions import PluginContributions
from perfopt.engine.registry import PluginInfo, PluginStatus
from perfopt.plugin.hookspecs import ENTRY_POINT_GROUP, PROJECT

# What perfopt brings itself, registered as what is installed is: an entry point of its own distribution.
_BUILT_IN = EntryPoint(PROJECT, "perfopt.engine.builtin", ENTRY_POINT_GROUP)


@dataclass(frozen=True)
class PluginCandidate:
    """An entry point of the plugin group and the distribution that declares it."""

    point: EntryPoint
    distribution: Distribution

    @property
    def identity(self) -> tuple[str, str]:
        """What tells it from all others: the plugin's name and its distribution."""
        return self.point.name, self.distribution.name

    def info(
        self,
        status: PluginStatus,
        error: str | None = None,
        contributions: PluginContributions | None = None,
    ) -> PluginInfo:
        """Describes it."""
        contributions = contributions or PluginContributions()
        return PluginInfo(
            name=self.point.name,
            distribution=self.distribution.name,
            version=self.distribution.version,
            types=tuple(sorted({strategy.optimization_type for strategy in contributions.strategies})),
            rule_packs=tuple(sorted(contributions.packs)),
            models=tuple(kind.kind for kind in contributions.kinds),
            forecasters=tuple(forecaster.name for forecaster in contributions.forecasters),
            settings=() if contributions.settings is None else describe(contributions.settings),
            status=status,
            error=error,
        )


def candidates() -> list[PluginCandidate]:
    """Returns the entry points of perfopt itself, then of what is installed by name, then distribution."""
    installed = {(*candidate.identity, candidate.point.value): candidate for candidate in _installed_points()}
    return [PluginCandidate(_BUILT_IN, distribution(PROJECT)), *(installed[key] for key in sorted(installed))]


def _installed_points() -> Iterator[PluginCandidate]:
    """Yields the entry points of what is installed, of each name those of the one that would be imported.

    Metadata is read only of what declares the group: to read that of all takes longer than to load plugins.
    """
    seen: set[str] = set()
    for declaring in distributions():
        if f"[{ENTRY_POINT_GROUP}]" not in (declaring.read_text("entry_points.txt") or ""):
            continue
        name = _name(declaring)
        if name is None or canonicalize_name(name) in seen:
            continue
        seen.add(canonicalize_name(name))
        # Of one name on several path entries the first is imported; what an upgrade left has no metadata.
        named = (one for one in Distribution.discover(name=name) if _name(one) is not None)
        first = next(named, declaring)  # found by its directory's name, which may be another
        for point in first.entry_points.select(group=ENTRY_POINT_GROUP):
            yield PluginCandidate(point, first)


def _name(installed: Distribution) -> str | None:
    """Returns the name of a distribution, or None where its directory lacks metadata."""
    name: str | None = installed.metadata.get("Name")
    return name


def unmet_requirement(distribution: Distribution) -> str | None:
    """Checks the plugin's requirement on perfopt without importing it."""
    installed = version(PROJECT)
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) != PROJECT:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            return f"It requires perfopt{requirement.specifier}, and perfopt {installed} is installed."
    return None
