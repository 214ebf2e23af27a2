"""What users may set of this plugin."""

from typing import Annotated

import msgspec
from msgspec import Meta


class PoolSizerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the plugin `pool-sizer`.

    Attributes:
        headroom: connections over the requests in flight at busy times, at least 1.
    """

    headroom: Annotated[float, Meta(ge=1, extra={"deprecated": "plugins.pool-sizer.spare"})] = 1.25
