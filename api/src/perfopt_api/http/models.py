"""The registry of models, read-only: it is changed by `perfopt model`."""

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from perfopt_api.http.body import require_plain
from perfopt_api.http.ports import ApiPorts
from perfopt_api.store.models import RegisteredModel


@get("/models", operation_id="listModels", summary="List registered models", tags=["Models"])
async def list_models(
    ports: NamedDependency[ApiPorts],
    kind: Annotated[
        str | None, QueryParameter(description="Only models of this kind, such as sizing.", max_length=50)
    ] = None,
) -> list[RegisteredModel]:
    """Lists the models by kind, newest version first; one of a kind at most is active."""
    require_plain(kind, "kind")
    return list(await ports.models.list_models(kind=kind))
