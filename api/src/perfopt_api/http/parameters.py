"""What an address may ask: a parameter that nothing reads is refused, and so is one that is given twice."""

from typing import Any

from litestar import Request
from litestar.params import QueryParameter

from perfopt.errors import InvalidInputError


def require_known_parameters(request: Request[Any, Any, Any]) -> None:
    """Refuses what the address asks and nothing reads: a filter misspelt would show everything.

    Raises:
        InvalidInputError: there is no such parameter, or it takes one value and has several.
    """
    fields = request.route_handler.parsed_fn_signature.parameters.items()
    known = {
        field.kwarg_definition.name or name: field.is_non_string_collection
        for name, field in fields
        if isinstance(field.kwarg_definition, QueryParameter)
    }
    for name, values in request.query_params.dict().items():
        if name not in known:
            raise InvalidInputError(
                f"There is no parameter {name[:100]!r}.",
                field=name[:100],
                remedy=f"Known: {', '.join(sorted(known))}." if known else "This address takes none.",
            )
        if len(values) > 1 and not known[name]:
            raise InvalidInputError(
                f"The parameter {name!r} is given {len(values)} times.", field=name, remedy="Give it once."
            )
