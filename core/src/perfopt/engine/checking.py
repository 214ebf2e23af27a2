"""Checks the settings of a plugin by its own type, in a process that may be killed."""

import msgspec

from perfopt.config.describe import plain
from perfopt.config.overrides import PLUGINS
from perfopt.engine.messages import CheckedSettings, CheckSettings
from perfopt.errors import PerfoptError


def check_by_type(struct: type[msgspec.Struct], request: CheckSettings) -> CheckedSettings:
    """Checks the settings of one plugin by its own type; runs where that type may do as it likes.

    Args:
        struct: the type.
        request: what was written, with the content of files.
    """
    try:
        settings = request.document.convert(request.values, struct, (PLUGINS, request.plugin), lax=True)
        return CheckedSettings(values=plain(settings))
    except PerfoptError as error:
        return CheckedSettings(error=error.message, field=error.field, remedy=error.remedy)
    except Exception as error:  # foreign code may raise anything
        text = f"Checking settings of {request.plugin!r} raised {type(error).__name__}: {error}."
        return CheckedSettings(error=text, field=f"{PLUGINS}.{request.plugin}")
