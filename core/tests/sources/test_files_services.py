"""A mistake in a services file is named with its file, line, path and remedy."""

import pytest

from perfopt.config.loading import Config, FilesConfig
from perfopt.domain.price import PriceBook
from perfopt.errors import InvalidInputError, PerfoptError
from perfopt.sources.factory import open_source, services_price_books, source_config, with_price_books
from perfopt.sources.files.services import read_services

HEAD = "services:\n  web:\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            HEAD + "    requests:\n      cpu: 5OOm\n",
            "services.web.requests.cpu: '5OOm' is not a Kubernetes quantity. (FILE:4)"
            " Write a number with an optional suffix, for example 300m, 0.5, 1Gi or 1e3.",
        ),
        (
            HEAD + "    limits: {memory: -1Gi}\n",
            "services.web.limits.memory: '-1Gi' is negative. (FILE:3) Give zero or more.",
        ),
        (
            HEAD + "    request: {cpu: 1}\n",
            "services.web.request: There is no field 'request' here. (FILE:3) Did you mean 'requests'?",
        ),
        (
            HEAD + "    requests: {cpus: 1}\n",
            "services.web.requests.cpus: There is no field 'cpus' here. (FILE:3) Did you mean 'cpu'?",
        ),
        (
            HEAD + "    replicas: three\n",
            "services.web.replicas: Expected integer, 0 to 100000, got text. (FILE:3) Correct the value.",
        ),
        (
            HEAD + "    class: important\n",
            "services.web.class: 'important' is not allowed: expected one of critical, standard, batch."
            " (FILE:3) Correct the value.",
        ),
        (
            HEAD + "    slo: {latency_ms: 250, quantile: 99}\n",
            "services.web.slo.quantile: Expected number, above 0, below 1. (FILE:3) Correct the value.",
        ),
        (
            HEAD + "    hpa: {min_replicas: 5, max_replicas: 2}\n",
            "services.web.hpa: min_replicas is above max_replicas. (FILE:3) Swap or correct them.",
        ),
        (
            HEAD + "    hpa: {max_replicas: 5, behavior: {scaleUp: {selectPolicy: Most}}}\n",
            "services.web.hpa: behavior.scaleUp.selectPolicy is not one of Max, Min, Disabled. (FILE:3)"
            " Write it as the autoscaling/v2 reference of HorizontalPodAutoscalerBehavior has it.",
        ),
        (
            HEAD + "    hpa: {min_replicas: 5}\n",
            "services.web.hpa: The field 'max_replicas' is missing. (FILE:3) Add it.",
        ),
        (
            HEAD + "    - replicas\n",
            "services.web: Expected mapping, got list. (FILE:2) Correct the value.",
        ),
        (
            "service:\n  web: {}\n",
            "service: There is no section 'service'. (FILE:1) Did you mean 'services'?",
        ),
        (
            "services: [web]\n",
            "services: This is not a mapping. (FILE:1) Write `name: value` lines below it.",
        ),
        (
            "services:\n  8080: {}\n",
            "services.8080: The key 8080 is not text. (FILE:2) Put it in quotes.",
        ),
        (
            "defaults:\n  limits: {cpu: lots}\n",
            "defaults.limits.cpu: 'lots' is not a Kubernetes quantity. (FILE:2)"
            " Write a number with an optional suffix, for example 300m, 0.5, 1Gi or 1e3.",
        ),
        (
            "defaults: {series: x}\n",
            "defaults.series: A default cannot name a series. (FILE:1) Name it below services.",
        ),
        (
            "price_books:\n  onprem: {currency: EUR, cpu_core_hour: -1, memory_gib_hour: 0}\n",
            "price_books.onprem.cpu_core_hour: Expected number, above 0, at most 1000000."
            " (FILE:2) Correct the value.",
        ),
        (
            "price_books:\n  onprem: {currency: EUR, cpu_core_hour: .nan, memory_gib_hour: 0.1}\n",
            "price_books.onprem.cpu_core_hour: Expected number, above 0, at most 1000000."
            " (FILE:2) Correct the value.",
        ),
        (
            "price_books:\n  onprem: {currency: EUR, cpu_core_hour: 0.1, memory_gib_hour: 0}\n",
            "price_books.onprem.memory_gib_hour: Expected number, above 0, at most 1000000."
            " (FILE:2) Correct the value.",
        ),
        (
            HEAD + "    hpa: {max_replicas: 0}\n",
            "services.web.hpa.max_replicas: Expected integer, 1 to 100000. (FILE:3) Correct the value.",
        ),
        (
            HEAD + "    requests: {cpu: 2}\n    limits: {cpu: 1}\n",
            "services.web.limits.cpu: The cpu limit is below the request. (FILE:4) Raise it or lower that.",
        ),
        (
            HEAD + "    requests: {memory: 20E}\n",
            "services.web.requests.memory: No machine has as much, or less than nothing. (FILE:3)"
            " Correct the quantity.",
        ),
        ("- web\n", "The services file FILE is not a mapping. Write `key: value` lines at the top level."),
        (
            "services:\n  web: {replicas: 1\n",
            "The services file is not YAML: expected ',' or '}', but got '<stream end>' (FILE:3)."
            " Correct it there.",
        ),
    ],
)
def test_a_mistake(tmp_path, text, message):
    path = tmp_path / "services.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError) as caught:
        read_services(path)
    assert str(caught.value).replace(str(path), "FILE") == message


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(InvalidInputError, match="cannot be read: No such file or directory"):
        read_services(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInputError, match="cannot be read: it is not UTF-8 text"):
        read_services(tmp_path / "binary.yaml")


REQUESTS = "    requests: {cpu: 0.5, memory: 1073741824}\n"


def test_numbers_and_text_are_quantities_alike(tmp_path):
    path = tmp_path / "services.yaml"
    path.write_text(
        HEAD + "    requests: {cpu: 0.5, memory: 1073741824}\n    limits: {cpu: 2, memory: 2Gi}\n"
    )
    entry = read_services(path).services["web"]
    assert (entry.requests.cpu_cores, entry.requests.memory_bytes) == (0.5, 2**30)
    assert (entry.limits.cpu_cores, entry.limits.memory_bytes) == (2.0, 2**31)


BOOK = "{currency: EUR, cpu_core_hour: 0.02, memory_gib_hour: 0.01"


def test_price_books_reach_the_configuration(tmp_path):
    path = tmp_path / "services.yaml"
    path.write_text(
        f"price_books:\n  onprem: {BOOK}}}\n"
        f"{HEAD}    price_book: {BOOK}, name: rack-7}}\n"
        "  db:\n    price_book: onprem\n"
    )
    config = FilesConfig(paths="x.parquet", services=str(path))
    expected = PriceBook(name="onprem", currency="EUR", cpu_core_hour=0.02, memory_gib_hour=0.01)
    books = with_price_books(Config(), config).price_books
    assert books["onprem"] == expected
    assert books["rack-7"].name == "rack-7"
    assert services_price_books(Config(sources={"traces": config})) == books
    assert read_services(path).services["web"].price_book == "rack-7"


def test_an_inline_price_book_without_a_name_goes_by_its_service(tmp_path):
    path = tmp_path / "services.yaml"
    path.write_text(f"{HEAD}    price_book: {BOOK}}}\n")
    read = read_services(path)
    assert read.price_books[read.services["web"].price_book].currency == "EUR"


def test_a_price_book_that_nobody_knows(tmp_path):
    path = tmp_path / "services.yaml"
    path.write_text(f"price_books:\n  onprem: {BOOK}}}\n{HEAD}    price_book: onprim\n")
    with pytest.raises(InvalidInputError) as caught:
        open_source(str(tmp_path), Config(), path)
    assert str(caught.value).replace(str(path), "FILE") == (
        "services.web.price_book: There is no price book 'onprim'. (FILE:5) Did you mean 'onprem'?"
    )


def test_a_services_file_goes_with_files_only(tmp_path):
    with pytest.raises(PerfoptError, match="A services file goes with files"):
        source_config("http://prometheus:9090", Config(), tmp_path / "services.yaml")
