import msgspec
import pytest
from config_file import write_config

from perfopt.config import load_config
from perfopt.config.documents import read_yaml
from perfopt.config.prices import examples, price_book
from perfopt.domain.price import HOURS_PER_MONTH, NodeType, PriceBook
from perfopt.domain.workload import Container, HpaState, WorkloadState
from perfopt.errors import InvalidInputError

GIB = 2**30
BOOK = PriceBook(
    name="b",
    currency="EUR",
    cpu_core_hour=0.02,
    memory_gib_hour=0.01,
    node_types=(
        NodeType(name="even", cores=4, memory_bytes=8 * GIB, price_hour=0.16, spot_price_hour=0.04),
        NodeType(name="tall", cores=4, memory_bytes=32 * GIB, price_hour=0.40),
    ),
)


def state(cpu=1.0, memory=2 * GIB, replicas=2, hpa=None, **extra):
    container = Container(name="main", cpu_request_cores=cpu, memory_request_bytes=memory)
    return WorkloadState(containers=(container,), replicas=replicas, hpa=hpa, extra=extra)


def test_requests_cost_their_prices_for_730_hours():
    assert BOOK.monthly_cost(state()) == pytest.approx(2 * (0.02 + 0.02) * HOURS_PER_MONTH)
    assert BOOK.monthly_cost(state(replicas=None)) == pytest.approx(0.04 * HOURS_PER_MONTH)
    assert BOOK.monthly_cost(state(cpu=None)) is None


def test_a_known_node_type_is_compared_with_the_cheapest_that_fits():
    plain = BOOK.monthly_cost(state())
    # a quarter of either node: 0.04 on "even", 0.10 on "tall"
    assert BOOK.monthly_cost(state(node_type="even")) == pytest.approx(plain)
    assert BOOK.monthly_cost(state(node_type="tall")) == pytest.approx(plain * 2.5)
    assert BOOK.monthly_cost(state(node_type="never heard of")) == pytest.approx(plain)
    half_spot = (0.5 * 0.16 + 0.5 * 0.04) / 0.16
    assert BOOK.monthly_cost(state(node_type="even", spot_share=0.5)) == pytest.approx(plain * half_spot)
    assert BOOK.monthly_cost(state(node_type="tall", spot_share=1.0)) == pytest.approx(plain * 2.5)


def test_a_schedule_counts_by_its_hours_unless_an_autoscaler_decides():
    schedule = [
        {"start": "2026-03-02T00:00:00+00:00", "end": "2026-03-02T08:00:00+00:00", "min_replicas": 1},
        {"start": "2026-03-02T08:00:00+00:00", "end": "2026-03-03T00:00:00+00:00", "min_replicas": 4},
    ]
    one = BOOK.monthly_cost(state(replicas=1))
    assert BOOK.monthly_cost(state(replicas=4, schedule=schedule)) == pytest.approx(3 * one)
    hpa = HpaState(min_replicas=1, max_replicas=9)
    assert BOOK.monthly_cost(state(replicas=4, schedule=schedule, hpa=hpa)) == pytest.approx(4 * one)


def test_every_example_says_where_it_is_from_and_prices_nodes_close_to_its_split(tmp_path):
    path = write_config(
        tmp_path, "price_books:\n" + "".join(f"  {name}: example:{name}\n" for name in examples())
    )
    books = load_config(path, {}).price_books
    assert set(examples()) == {"aws-us-east-1", "azure-eastus", "gcp-us-central1"}
    for name in examples():
        book = books[name]
        assert book.name == f"example-{name}"
        for node in book.node_types:
            assert book.hourly_cost(node.cores, node.memory_bytes) == pytest.approx(node.price_hour, rel=0.03)


def test_a_book_in_a_file_of_its_own(tmp_path):
    book = tmp_path / "rack.yaml"
    book.write_text(
        "currency: EUR\ncpu_core_hour: 0.018\nmemory_gib_hour: 0.0024\n"
        "node_types:\n  - {name: large, cores: 16, memory: 64Gi, price_hour: 0.44}\n"
    )
    config = write_config(tmp_path, f"price_books: {{rack: {book}}}\nprice_book: rack\n")
    read = load_config(config, {}).price_books["rack"]
    assert (read.name, read.currency) == ("rack", "EUR")
    large = NodeType(name="large", cores=16, memory_bytes=64 * GIB, price_hour=0.44)
    assert read.node_types == (large,)
    assert msgspec.convert(msgspec.to_builtins(read), PriceBook) == read


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: example:aws\n", "x: There is no example price book 'aws'. (FILE:1)"),
        ("x: nowhere.yaml\n", "The price book nowhere.yaml cannot be read: No such file or directory."),
        (
            "x:\n  currency: EUR\n  cpu_core_hour: 1\n  memory_gib_hour: 1\n  node_types:\n"
            "    - {name: a, cores: 1, memory: 1Gb, price_hour: 1}\n",
            "x.node_types[0].memory: '1Gb' is not a Kubernetes quantity. (FILE:6)",
        ),
        (
            "x:\n  currency: EUR\n  cpu_core_hour: 1\n  memory_gib_hour: 1\n  node_types:\n"
            "    - {name: a, cores: 1, memory: 1Gi, price_hour: 1}\n"
            "    - {name: a, cores: 2, memory: 2Gi, price_hour: 2}\n",
            "x.node_types[1]: There are two node types 'a'. (FILE:7)",
        ),
        (
            "x:\n  currency: EUR\n  cpu_core_hour: 1\n  memory_gib_hour: 1\n  node_types:\n"
            "    - {name: a, cores: 0, memory: 1Gi, price_hour: 1}\n",
            "x.node_types[0].cores: Expected number, above 0, at most 1000000. (FILE:6)",
        ),
    ],
)
def test_a_mistake_in_a_book_is_shown_where_it_stands(tmp_path, text, message):
    path = tmp_path / "books.yaml"
    path.write_text(text)
    document = read_yaml(path, what="price books")
    with pytest.raises(InvalidInputError) as caught:
        price_book(document, document.data["x"], ("x",), "x")
    assert str(caught.value).replace(str(path), "FILE").startswith(message)
