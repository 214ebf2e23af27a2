"""Finds out what is installed without importing any plugin here: a plugin may hang or exit on import."""

from collections.abc import Collection
from dataclasses import replace

from perfopt.engine import messages
from perfopt.engine.candidates import PluginCandidate, candidates
from perfopt.engine.child import ChildError, ChildProcess
from perfopt.engine.registry import PluginInfo, PluginRegistry, PluginStatus

LOAD_SECONDS = 30.0  # TensorFlow alone takes up to 16 s to import on a slow machine
WORKER = "perfopt.engine.worker:main"


def set_up(child: ChildProcess, setup: messages.SetupRequest, deadline_seconds: float) -> PluginRegistry:
    """Has a new worker process load its plugins, and returns what it loaded.

    Raises:
        ChildError: it did not come up; it is gone.
    """
    child.send(messages.encode_request(setup))
    return messages.decode_registry(child.receive(deadline_seconds))


def probe_plugins(disabled: Collection[str] = (), deadline_seconds: float = LOAD_SECONDS) -> PluginRegistry:
    """Loads the installed plugins in a killable process and describes them.

    Where that process hangs or dies, each plugin is loaded in one of its own to find the guilty ones.

    Args:
        disabled: names of plugins that are listed and not imported.
        deadline_seconds: for a process to load its plugins.
    """
    registry, child = probe_with_worker(disabled, deadline_seconds)
    if child is not None:
        child.kill()
    return registry


def probe_with_worker(
    disabled: Collection[str] = (), deadline_seconds: float = LOAD_SECONDS
) -> tuple[PluginRegistry, ChildProcess | None]:
    """Describes the installed plugins as `probe_plugins` does, and keeps the process that loaded them.

    Returns:
        The registry, and a worker that waits for another `set_up` with the same plugins: loading them takes
        most of a worker's start. None where the plugins could not be loaded together.
    """
    setup = messages.SetupRequest(tuple(disabled))
    child = ChildProcess(WORKER)
    try:
        return set_up(child, setup, deadline_seconds), child
    except ChildError:
        return _probe_each(setup, deadline_seconds), None
    except BaseException:
        child.kill()
        raise


def _probe_each(setup: messages.SetupRequest, deadline_seconds: float) -> PluginRegistry:
    plugins = candidates()
    verdicts = ((plugin.identity, _verdict(plugin, setup, deadline_seconds)) for plugin in plugins)
    guilty = {identity: error for identity, error in verdicts if error is not None}
    innocent = frozenset(c.identity for c in plugins) - guilty.keys()
    try:
        registry = _probe(messages.SetupRequest(setup.disabled, innocent), deadline_seconds)
    except ChildError as error:  # each loads alone and they don't together: none can be trusted
        registry = PluginRegistry((), ())
        guilty |= dict.fromkeys(innocent, f"Loading it beside the other plugins {error}.")
    failed = [c.info(PluginStatus.FAILED, guilty[c.identity]) for c in plugins if c.identity in guilty]
    return replace(registry, plugins=tuple(sorted((*registry.plugins, *failed), key=_by_name)))


def _probe(setup: messages.SetupRequest, deadline_seconds: float) -> PluginRegistry:
    child = ChildProcess(WORKER)
    try:
        return set_up(child, setup, deadline_seconds)
    finally:
        child.kill()


def _verdict(candidate: PluginCandidate, setup: messages.SetupRequest, deadline_seconds: float) -> str | None:
    try:
        _probe(messages.SetupRequest(setup.disabled, frozenset({candidate.identity})), deadline_seconds)
    except ChildError as error:
        return f"Loading {candidate.point.value} {error}."
    return None


def _by_name(info: PluginInfo) -> tuple[str, str]:
    return info.name, info.distribution
