"""Price books as files state them, and the examples that are shipped: public list prices of a day.

```yaml
name: rack-7
currency: EUR
cpu_core_hour: 0.018
memory_gib_hour: 0.0024
node_types:
  - {name: large, cores: 16, memory: 64Gi, price_hour: 0.44, spot_price_hour: 0.15}
```
"""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from perfopt.config.documents import YamlDocument, read_yaml, reraise_at
from perfopt.config.paths import KeyPath, suggestion
from perfopt.domain.price import NodeType, PriceBook
from perfopt.domain.quantity import parse_memory
from perfopt.errors import InvalidInputError

EXAMPLE = "example:"
# Above zero, finite, and no amount that only a slip of the decimal point gives.
Price = Annotated[float, Meta(gt=0, le=1e6)]


class NodeTypeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A node type.

    Attributes:
        name: the value of the label `node.kubernetes.io/instance-type`.
        cores: CPU cores of the machine.
        memory: memory of the machine, a Kubernetes quantity.
        price_hour: price of an hour on demand, in the book's currency.
        spot_price_hour: price of an hour as spot; unset where it is not known.
    """

    name: Annotated[str, Meta(min_length=1)]
    cores: Annotated[float, Meta(gt=0, le=1e6)]
    memory: str
    price_hour: Price
    spot_price_hour: Price | None = None


class PriceBookConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price book.

    Attributes:
        currency: ISO 4217 code.
        cpu_core_hour: price of a CPU core for an hour.
        memory_gib_hour: price of a GiB of memory for an hour.
        name: its name; unset is the key it stands under.
        node_types: what COST recommendations choose from.
    """

    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    cpu_core_hour: Price
    memory_gib_hour: Price
    name: str | None = None
    node_types: tuple[NodeTypeConfig, ...] = ()


def examples() -> tuple[str, ...]:
    """Returns the names of the shipped example price books."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def price_book(
    document: YamlDocument, value: Any, path: KeyPath, key: str, *, lax: bool = False
) -> PriceBook:
    """Returns the price book that stands in a document: written out, or the file or example it names.

    Args:
        document: where it stands, for errors.
        value: a mapping, the path of a YAML file, or "example:NAME" for a shipped one.
        path: of the value in the document.
        key: what the book is called unless it names itself.
        lax: takes "0.02" for 0.02.

    Raises:
        InvalidInputError: no such file or example, an unknown field, a wrong type, a node type twice.
    """
    if isinstance(value, str):
        named = _example(document, value, path) if value.startswith(EXAMPLE) else Path(value)
        inner = read_yaml(named, what="price book")
        return price_book(inner, inner.data, (), key)
    read = document.convert(value, PriceBookConfig, path, lax=lax)
    nodes = tuple(
        _node_type(document, node, (*path, "node_types", number))
        for number, node in enumerate(read.node_types)
    )
    names = [node.name for node in nodes]
    for number, name in enumerate(names):
        if name in names[:number]:
            document.fail(
                (*path, "node_types", number), f"There are two node types {name!r}.", "Rename or remove one."
            )
    return PriceBook(
        name=read.name or key,
        currency=read.currency,
        cpu_core_hour=read.cpu_core_hour,
        memory_gib_hour=read.memory_gib_hour,
        node_types=nodes,
    )


def example_book(name: str) -> PriceBook:
    """Returns a shipped example.

    Args:
        name: "example:NAME".

    Raises:
        InvalidInputError: there is none of that name.
    """
    return price_book(YamlDocument("shipped examples", {}), name, ("price_book",), name)


def _node_type(document: YamlDocument, read: NodeTypeConfig, path: KeyPath) -> NodeType:
    try:
        memory = parse_memory(read.memory)
    except InvalidInputError as error:
        reraise_at(document, (*path, "memory"), error)
    if memory <= 0:
        document.fail((*path, "memory"), "A node has memory.", "Correct the value.")
    return NodeType(
        name=read.name,
        cores=read.cores,
        memory_bytes=memory,
        price_hour=read.price_hour,
        spot_price_hour=read.spot_price_hour,
    )


def _example(document: YamlDocument, value: str, path: KeyPath) -> Path:
    name = value.removeprefix(EXAMPLE).strip()
    if name not in examples():
        document.fail(path, f"There is no example price book {name!r}.", suggestion(name, examples()))
    return Path(str(_folder() / f"{name}.yaml"))


def _folder() -> Traversable:
    return files("perfopt.config") / "price_books"
