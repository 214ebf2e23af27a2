"""Fleet: nodes before and after the recommendations in force, and what a budget would change."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from perfopt.config.prices import EXAMPLE, examples
from perfopt.errors import InvalidInputError
from perfopt.fleet import FleetView
from perfopt_api.http.body import require_plain
from perfopt_api.http.fleet import packed_fleet
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.view import csv_answer, page

_COLUMNS = (
    "fleet", "node_count", "nodes", "pods", "cpu_cores", "memory_bytes", "packed_cost_month", "bound_month",
    "gap", "currency",
)  # fmt: skip


@get("/fleet", include_in_schema=False)
async def fleet(
    request: Request[Any, Any, Any],
    web: NamedDependency[WebPorts],
    price_book: Annotated[str, QueryParameter(max_length=100)] = "",
    budget: Annotated[str, QueryParameter(max_length=20)] = "",
    form: Annotated[Literal["html", "csv"], QueryParameter(name="format")] = "html",
) -> Response[Any]:
    """Shows the form, and the packed fleet once a price book is chosen, as that takes seconds."""
    require_plain(price_book, "price_book")
    limit = _amount(budget)
    books = [name for name, book in web.api.config.price_books.items() if book.node_types]
    view = await packed_fleet(web.api, price_book, limit) if price_book else None
    if form == "csv" and view is not None:
        return csv_answer("fleet", _csv_rows(view), _COLUMNS)
    return page(
        request,
        "fleet.html",
        books=(*books, *(f"{EXAMPLE}{name}" for name in examples())),
        chosen=price_book,
        budget=budget,
        view=view,
    )


def _csv_rows(view: FleetView) -> list[dict[str, Any]]:
    """Returns a row for each packed fleet: as it is, as recommended, and within the budget."""
    budget = None if view.budget is None else view.budget.fleet
    sides = {"current": view.current, "recommended": view.recommended, "budget": budget}
    return [
        msgspec.structs.asdict(side)
        | {"fleet": name, "currency": view.currency}
        | {"nodes": [f"{count} {node}" for node, count in side.nodes.items()]}
        for name, side in sides.items()
        if side is not None
    ]


def _amount(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        amount = float(text)
    except ValueError:
        amount = 0.0
    if not 0 < amount < 1e12:
        raise InvalidInputError(f"{text!r} is no budget.", field="budget", remedy="Give an amount above 0.")
    return amount
