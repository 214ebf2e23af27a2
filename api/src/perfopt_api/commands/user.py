"""Who runs a command, for the record."""

import getpass


def system_user() -> str:
    """Returns the system's user; a container's may have no name."""
    try:
        return getpass.getuser()[:100]
    except (KeyError, OSError):
        return "unknown"
