"""Promotes a model when it beats the active one; otherwise it is rejected, with the figures."""

import msgspec

from perfopt.errors import ConflictError
from perfopt_api.registry.replay import ReplayModel, ReplayResult
from perfopt_api.store.models import PostgresModels, RegisteredModel


class PromotionResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a promotion.

    Attributes:
        model: as it stands now: "active" when it was better, as before or "rejected" when not.
        replay: the figures it was decided by.
    """

    model: RegisteredModel
    replay: ReplayResult


async def contenders(
    registry: PostgresModels, kind: str, version: int, against: int | None = None
) -> tuple[RegisteredModel, ReplayModel, ReplayModel]:
    """Returns a model, and the two to replay: the incumbent and the model itself.

    Args:
        registry: of models.
        kind: of the models.
        version: of the candidate.
        against: version of the incumbent; None is the active one.

    Raises:
        NotFoundError: no such version.
        ConflictError: the candidate is the incumbent, or one of the two is corrupt.
    """
    model = await registry.get(kind, version)
    if against is None:
        old = next((one for one in await registry.active() if one.kind == kind), None)
    else:
        old = await registry.get(kind, against)
    if old is not None and old.version == version:
        raise ConflictError(f"Version {version} is what it would be compared with.", field="version")
    incumbent = ReplayModel(version=None, kind=kind) if old is None else await _contender(registry, old)
    return model, incumbent, await _contender(registry, model)


async def _contender(registry: PostgresModels, model: RegisteredModel) -> ReplayModel:
    content = await registry.content(model)
    return ReplayModel(version=model.version, kind=model.kind, content=content, card=model.card)


async def decide(
    registry: PostgresModels, model: RegisteredModel, replay: ReplayResult, by: str
) -> PromotionResult:
    """Makes a model active when the replay says that it is better; rejects it otherwise.

    Raises:
        ConflictError: another model was made active during the replay.
    """
    figures = msgspec.to_builtins(replay)
    if replay.comparison.better:
        changed = await registry.activate(model, instead_of=replay.incumbent_version, replay=figures, by=by)
    else:
        changed = await registry.reject(model, figures)
    return PromotionResult(model=changed, replay=replay)
