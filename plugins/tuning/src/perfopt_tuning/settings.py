"""What users may set of this plugin."""

from typing import Annotated

import msgspec
from msgspec import Meta

from perfopt.plugin import SettingsFile
from perfopt_tuning.knobs.read import extended_catalogue
from perfopt_tuning.knobs.schema import KnobCatalogue


class TuningSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin `tuning`.

    Attributes:
        knob_catalogue: YAML file of runtime knobs that are added to the shipped ones, or take the place of
            those of the same name.
    """

    knob_catalogue: Annotated[SettingsFile | None, Meta(extra={"deprecated": "engine.knob_catalogue"})] = None

    def __post_init__(self) -> None:
        """Refuses a file that is no catalogue."""
        if self.knob_catalogue is not None:
            extended_catalogue(self.knob_catalogue.path, self.knob_catalogue.content)

    def catalogue(self, shipped: KnobCatalogue) -> KnobCatalogue:
        """Returns the catalogue in force: the shipped one, or the user's added to it."""
        own = self.knob_catalogue
        return shipped if own is None else extended_catalogue(own.path, own.content)
