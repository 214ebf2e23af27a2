"""What users may set of this plugin."""

from typing import Annotated

import msgspec
from msgspec import Meta

from perfopt.plugin import SettingsFile


class ResourceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin `resource`.

    Attributes:
        model: the sizing model that `perfopt train` wrote; the shipped one sizes where none is set.
        fleet_accuracy: share of recommendations of the standard class that should be accurate; the penalties
            of under-provisioning are scaled to what reached it out of fold, those of all classes alike.
    """

    model: Annotated[
        SettingsFile | None, Meta(extra={"model": "sizing", "deprecated": "engine.sizing_model"})
    ] = None
    fleet_accuracy: Annotated[float, Meta(ge=0.5, lt=1)] = 0.92
