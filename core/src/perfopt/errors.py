"""The one exception root. Subclasses say what the caller does next (fix, retry, look elsewhere)."""

from collections.abc import Sequence


class PerfoptError(Exception):
    """Root of every error perfopt raises on purpose.

    Attributes:
        message: one sentence that says what is wrong.
        field: the request field, file column or setting at fault, if any.
        remedy: one sentence that says what to do about it, if known.
    """

    code = "error"

    def __init__(self, message: str, *, field: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.remedy = remedy

    @property
    def explained(self) -> str:
        """What is wrong and what to do, without the field: for who wrote no request."""
        return f"{self.message} {self.remedy}" if self.remedy else self.message

    def __str__(self) -> str:
        return f"{self.field}: {self.explained}" if self.field else self.explained


class InvalidInputError(PerfoptError):
    """What was given is wrong: the caller corrects it. HTTP 400."""

    code = "invalid_input"


class NotFoundError(PerfoptError):
    """What was named does not exist, or several things match: the caller picks a candidate. HTTP 404."""

    code = "not_found"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        remedy: str | None = None,
        candidates: Sequence[str] = (),
    ) -> None:
        super().__init__(message, field=field, remedy=remedy)
        self.candidates = tuple(candidates)


class AmbiguousError(NotFoundError):
    """Several things match the name given: the caller names one in full. HTTP 409."""

    code = "ambiguous"


class ConflictError(PerfoptError):
    """The request is right but the present state does not allow it. HTTP 409."""

    code = "conflict"


class NoDataError(PerfoptError):
    """The source answered and holds nothing for the workload in the period: fatal for this request."""

    code = "no_data"


class SourceError(PerfoptError):
    """A metric source refused or answered nonsense: retrying the same will not help."""

    code = "source_error"


class QueryTooLargeError(SourceError):
    """A metric source finds a query too large: asking for less at once may help."""

    code = "source_error"


class SourceUnavailableError(SourceError):
    """A metric source is down, slow or rate-limited, after bounded retries: worth trying again later."""

    code = "source_unavailable"


class UnavailableError(PerfoptError):
    """A part of the service itself (PostgreSQL, NATS) is not reachable: try again later. HTTP 503."""

    code = "unavailable"
