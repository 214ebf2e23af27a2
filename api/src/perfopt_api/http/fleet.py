"""What the cluster's nodes would cost by packing what is recommended."""

import asyncio
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from perfopt.config.paths import suggestion
from perfopt.config.prices import EXAMPLE, example_book
from perfopt.domain.price import PriceBook
from perfopt.errors import InvalidInputError
from perfopt.fleet import FleetView, NodeBudget, fleet_view, states_in_force
from perfopt_api.http.body import require_plain
from perfopt_api.http.ports import ApiPorts, all_recommendations


@get(
    "/fleet",
    operation_id="getFleet",
    summary="Nodes before and after the recommendations in force, by packing",
    tags=["Recommendations"],
)
async def get_fleet(
    ports: NamedDependency[ApiPorts],
    price_book: Annotated[
        str | None,
        QueryParameter(description="A configured book with node types, or example:NAME.", max_length=100),
    ] = None,
    budget: Annotated[
        float | None,
        QueryParameter(description="For nodes a month: which changes keep it at the least risk.", gt=0),
    ] = None,
) -> FleetView:
    """Packs the pods of all workloads with a recommendation in force, as they are and as recommended.

    What counts is the newest plan whose recommendations are all in force, else the recommendation that saves
    most. Workloads without any are not known here: `perfopt fleet` reads all of a source.
    """
    require_plain(price_book, "price_book")
    return await packed_fleet(ports, price_book, budget)


async def packed_fleet(ports: ApiPorts, price_book: str | None, budget: float | None) -> FleetView:
    """Packs what is in force; a thousand workloads take seconds, in a thread.

    Raises:
        InvalidInputError: no such price book, or it knows no node types.
    """
    book = _book(ports, price_book)
    states = states_in_force(await all_recommendations(ports.store), await ports.store.plans())
    return await asyncio.to_thread(fleet_view, states, book, None if budget is None else NodeBudget(budget))


def _book(ports: ApiPorts, name: str | None) -> PriceBook:
    if name is not None and name.startswith(EXAMPLE):
        return example_book(name)
    books = ports.config.price_books
    book = name or ports.config.price_book
    if book not in books:
        raise InvalidInputError(
            f"There is no price book {book!r}.",
            field="price_book",
            remedy=suggestion(book, tuple(books)),
        )
    return books[book]
