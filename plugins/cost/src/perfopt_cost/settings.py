"""What users may set of this plugin."""

from typing import Annotated

import msgspec
from msgspec import Meta

from perfopt.plugin import SettingsFile


class CostSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin `cost`.

    Attributes:
        model: bounds of demand that `perfopt train --what cost` wrote; the shipped ones where none is set.
    """

    model: Annotated[SettingsFile | None, Meta(extra={"model": "cost"})] = None
