"""The installed plugins."""

from litestar import get
from litestar.di import NamedDependency

from perfopt.engine.registry import PluginInfo
from perfopt_api.http.ports import ApiPorts


@get("/plugins", operation_id="listPlugins", summary="List installed plugins", tags=["Plugins"])
async def list_plugins(ports: NamedDependency[ApiPorts]) -> list[PluginInfo]:
    """Lists plugins with their versions and types, and why any failed to load."""
    return list(await ports.plugins.list())
