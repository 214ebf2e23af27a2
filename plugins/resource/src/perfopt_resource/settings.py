"""What users may set of this plugin."""

from typing import Annotated

import msgspec
from msgspec import Meta

from perfopt.plugin import SettingsFile


class ResourceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin `resource`.

    Attributes:
        model: the sizing model that `perfopt train` wrote; the shipped one sizes where none is set.
    """

    model: Annotated[
        SettingsFile | None, Meta(extra={"model": "sizing", "deprecated": "engine.sizing_model"})
    ] = None
