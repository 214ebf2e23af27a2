"""What the service refuses although the request is right: ask again later, or for less."""

from typing import Any

from perfopt.errors import PerfoptError, UnavailableError


class UnauthorizedError(PerfoptError):
    """No credentials, or wrong ones. HTTP 401.

    Attributes:
        reason: short code, as metrics and the audit have it.
    """

    code = "unauthorized"

    def __init__(self, message: str, *, reason: str = "unknown_token", **more: Any) -> None:
        """Builds the message as its parent does."""
        super().__init__(message, **more)
        self.reason = reason


class ForbiddenError(PerfoptError):
    """Who asks is known, and may not do it. HTTP 403.

    Attributes:
        reason: short code, as metrics and the audit have it.
    """

    code = "forbidden"

    def __init__(self, message: str, *, reason: str, **more: Any) -> None:
        """Builds the message as its parent does."""
        super().__init__(message, **more)
        self.reason = reason


class OverloadedError(UnavailableError):
    """The service has more to do than it can: the caller tries again a little later. HTTP 429.

    Attributes:
        retry_after_seconds: from when on it may try again.
    """

    code = "overloaded"

    def __init__(self, message: str, *, retry_after_seconds: int = 5, **more: Any) -> None:
        """Builds the message as its parent does."""
        super().__init__(message, **more)
        self.retry_after_seconds = retry_after_seconds


class QuotaExceededError(PerfoptError):
    """The requester has too many jobs that are not finished: it waits for some of them. HTTP 429."""

    code = "quota_exceeded"


class RateLimitedError(PerfoptError):
    """The requester asks more often than it may. HTTP 429.

    Attributes:
        retry_after_seconds: from when on it may ask again.
    """

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_seconds: int, **more: Any) -> None:
        """Builds the message as its parent does."""
        super().__init__(message, **more)
        self.retry_after_seconds = retry_after_seconds
