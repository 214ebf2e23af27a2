"""The two halves of a data set: what constants may be fitted on, and what they are judged on."""

import hashlib
from typing import Literal

Split = Literal["tune", "report"]
# Sets of few series are divided by name, since a hash would put most of one on one side.
_TUNED = (
    *("nab/", "nasa-http/1995-07", "equity-15min/aapl"),
    *("ticker-mentions/crm", "ticker-mentions/pfe", "ticker-mentions/ups"),
)
_SMALL_SETS = (
    *("nab/", "nasa-http/", "equity-15min/", "ticker-mentions/"),
    *("index-future", "worldcup98/", "datacenter/"),
)


def split_of(series_id: str) -> Split:
    """Returns the half a series belongs to: parity of the SHA-256 of its name, even is `tune`.

    `tune` is what constants may be fitted on, `report` is what they never see. The half does not depend on
    what is loaded beside the series. Series of small sets are divided by name.
    """
    if series_id.startswith(_SMALL_SETS):
        return "tune" if series_id.startswith(_TUNED) else "report"
    return "tune" if hashlib.sha256(series_id.encode()).digest()[-1] % 2 == 0 else "report"
