"""Which installed plugins may be loaded: by name, and by a hash of the files of their distribution.

What is installed is read, not imported: a plugin that is left out runs no code.
"""

import hashlib
from collections.abc import Mapping
from importlib.metadata import Distribution

from perfopt.config.loading import EngineConfig
from perfopt.engine.candidates import PluginCandidate, candidates
from perfopt.plugin.hookspecs import PROJECT

ANY = "any"
# Written by the installer, about this machine and not about the distribution.
_OF_THE_INSTALLATION = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"})


def left_out(engine: EngineConfig) -> tuple[str, ...]:
    """Returns the names of plugins that are not imported: disabled ones, and those that are not allowed."""
    allowed = engine.allowed_plugins
    if allowed is None:
        return engine.disabled()
    refused = (one.point.name for one in candidates() if not _is_allowed(one, allowed))
    return tuple(dict.fromkeys((*engine.disabled(), *refused)))


def installed_hashes() -> dict[str, str]:
    """Returns the hash of each installed plugin by name, as `engine.allowed_plugins` takes it."""
    return {
        one.point.name: distribution_hash(one.distribution) or ANY
        for one in candidates()
        if one.distribution.name != PROJECT
    }


def distribution_hash(distribution: Distribution) -> str | None:
    """Returns a hash of names and contents of a distribution's files; an editable one has links only.

    None stands for a distribution that does not list its files.
    """
    if not distribution.files:
        return None
    digest = hashlib.sha256()
    for file in sorted(distribution.files, key=str):
        if file.name in _OF_THE_INSTALLATION or file.suffix == ".pyc" or "__pycache__" in file.parts:
            continue
        content = hashlib.sha256(distribution.locate_file(file).read_bytes()).hexdigest()  # type: ignore[attr-defined]
        digest.update(f"{file}\0{content}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def _is_allowed(candidate: PluginCandidate, allowed: Mapping[str, str]) -> bool:
    if candidate.distribution.name == PROJECT:
        return True
    entry = allowed.get(candidate.point.name)
    return entry == ANY or (entry is not None and entry == distribution_hash(candidate.distribution))
