"""What the service refuses although the request is right: ask again later, or for less."""

from perfopt.errors import PerfoptError, UnavailableError


class OverloadedError(UnavailableError):
    """The service has more to do than it can: the caller tries again a little later. HTTP 503."""

    code = "overloaded"


class QuotaExceededError(PerfoptError):
    """The requester has too many jobs that are not finished: it waits for some of them. HTTP 429."""

    code = "quota_exceeded"
