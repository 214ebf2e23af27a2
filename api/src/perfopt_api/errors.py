"""What the service refuses although the request is right: ask again later, or for less."""

from perfopt.errors import UnavailableError


class OverloadedError(UnavailableError):
    """The service has more to do than it can: the caller tries again a little later. HTTP 503."""

    code = "overloaded"
