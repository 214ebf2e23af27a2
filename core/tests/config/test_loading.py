import msgspec
import pytest
import yaml
from config_file import write_config

from perfopt.config.documents import YamlDocument
from perfopt.config.loading import Config, EngineConfig, FilesConfig, load_config, written
from perfopt.domain.enums import ServiceClass
from perfopt.domain.price import DEFAULT_PRICE_BOOK, PriceBook
from perfopt.errors import InvalidInputError


def test_without_a_file_there_are_defaults():
    config = load_config(None, {})
    assert (config.sources, config.default_source) == ({}, None)
    assert config.price_book in config.price_books
    assert config.engine.deadline_seconds == 10


def test_a_file_by_argument_or_by_the_environment(file):
    config = load_config(file, {})
    assert config.sources["prod"].url.endswith("/base")
    assert config.sources["traces"] == FilesConfig(paths=("a.parquet", "b.parquet"))
    assert config.price_books["onprem"].currency == "EUR"
    assert config.engine.deadline_seconds == 20
    assert load_config(None, {"PERFOPT_CONFIG": str(file)}) == config


def test_the_environment_overrides_fields(file):
    config = load_config(
        file,
        {
            "PERFOPT_ENGINE__DEADLINE_SECONDS": "2.5",
            "PERFOPT_SOURCES__PROD__BEARER_TOKEN": "12345",
            "PERFOPT_SOURCES__EXTRA__TYPE": "files",
            "PERFOPT_SOURCES__EXTRA__PATHS": "/data",
            "PERFOPT_DEFAULT_SOURCE": "extra",
        },
    )
    assert config.engine.deadline_seconds == 2.5
    assert config.sources["prod"].bearer_token == "12345"
    assert config.sources["extra"] == FilesConfig(paths="/data")
    assert config.default_source == "extra"


def test_options_set_sections_too_and_go_before_the_environment():
    environ = {"PERFOPT_ENGINE__DEADLINE_SECONDS": "2.5", "PERFOPT_PRICE_BOOK": "list-price"}
    given = [
        "engine.deadline_seconds=20",
        "price_books.x={currency: EUR, cpu_core_hour: 1, memory_gib_hour: 1}",
    ]
    config = load_config(None, environ, [*given, "price_book=x", "sizer.margin=2"])
    assert config.engine.deadline_seconds == 20
    assert config.price_book == "x"
    assert config.plugins == {"sizer": {"margin": 2}}
    with pytest.raises(
        InvalidInputError, match=r"engine.forecaster: There is no field.*Did you mean 'forecasters'"
    ):
        load_config(None, {}, ["engine.forecaster=1"])


def test_variables_that_kubernetes_sets_for_a_service_are_left_alone():
    environ = {"PERFOPT_PORT": "tcp://10.0.0.1:80", "PERFOPT_SERVICE_HOST": "10.0.0.1", "PERFOPT_DEBUG": "1"}
    assert load_config(None, environ) == load_config(None, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("engin: {}\n", "engin: There is no section 'engin'. (FILE:1) Did you mean 'engine'?"),
        (
            "engine:\n  deadline: 5\n",
            "engine.deadline: There is no field 'deadline' here. (FILE:2) Did you mean 'deadline_seconds'?",
        ),
        (
            "engine:\n  deadline_seconds: soon\n",
            "engine.deadline_seconds: Expected number, above 0, at most 86400, got text."
            " (FILE:2) Correct the value.",
        ),
        (
            "engine:\n  processes: 0\n",
            "engine.processes: Expected integer, 1 to 1024. (FILE:2) Correct the value.",
        ),
        ("engine: fast\n", "engine: This is not a mapping. (FILE:1) Write `name: value` lines below it."),
        (
            "sources:\n  prod:\n    url: http://x\n",
            "sources.prod: The field 'type' is missing. (FILE:2) Add it.",
        ),
        (
            "sources:\n  prod:\n    type: graphite\n",
            "sources.prod.type: 'graphite' is not allowed: expected one of prometheus, files."
            " (FILE:3) Correct the value.",
        ),
        (
            "sources:\n  a:\n    type: files\n    paths: x\n    service: y\n",
            "sources.a.service: There is no field 'service' here. (FILE:5) Did you mean 'services'?",
        ),
        ("default_source: prod\n", "default_source: 'prod' is not configured. (FILE:1) Remove it."),
        (
            "price_books:\n  x: {currency: euro, cpu_core_hour: 1, memory_gib_hour: 1}\n",
            "price_books.x.currency: Expected text matching regex '^[A-Z]{3}$'. (FILE:2) Correct the value.",
        ),
    ],
)
def test_a_mistake_names_the_key_the_file_and_the_line(tmp_path, text, message):
    path = write_config(tmp_path, text)
    with pytest.raises(InvalidInputError) as caught:
        load_config(path, {})
    assert str(caught.value).replace(str(path), "FILE") == message


def test_a_mistake_in_a_variable_names_the_field():
    with pytest.raises(InvalidInputError, match=r"deadline_seconds: Expected number.*\(PERFOPT_ENG"):
        load_config(None, {"PERFOPT_ENGINE__DEADLINE_SECONDS": "soon"})
    with pytest.raises(InvalidInputError, match="engin: There is no section 'engin'"):
        load_config(None, {"PERFOPT_ENGIN__DEADLINE_SECONDS": "1"})
    with pytest.raises(InvalidInputError, match="PRICE_BOOK__X: 'price_book' holds no further fields"):
        load_config(None, {"PERFOPT_PRICE_BOOK": "a", "PERFOPT_PRICE_BOOK__X": "b"})


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    port: int = 8000
    database_url: str = ""


def test_a_section_of_an_extension():
    document = YamlDocument("perfopt.yaml", {}, {("service",): 3, ("service", "prot"): 4})
    config = Config(sections={"service": {"port": "9000"}}, document=document)
    assert config.section("service", Section) == Section(port=9000)
    assert config.section("other", Section) == Section()
    wrong = Config(sections={"service": {"prot": 1}}, document=document)
    with pytest.raises(InvalidInputError) as caught:
        wrong.section("service", Section)
    assert str(caught.value) == (
        "service.prot: There is no field 'prot' here. (perfopt.yaml:4) Did you mean 'port'?"
    )


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n", "---\n"])
def test_an_empty_file_is_an_empty_configuration(tmp_path, text):
    path = write_config(tmp_path, text)
    assert load_config(path, {}).sources == {}


def test_price_book_is_the_named_the_configured_the_measured_or_the_default_one():
    own = PriceBook(name="own", currency="EUR", cpu_core_hour=1.0, memory_gib_hour=1.0)
    measured = PriceBook(name="opencost", currency="USD", cpu_core_hour=2.0, memory_gib_hour=1.0)
    books = {DEFAULT_PRICE_BOOK.name: DEFAULT_PRICE_BOOK, "own": own}
    usual, configured = Config(price_books=books), Config(price_books=books, price_book="own")
    assert usual.book_for("own", measured) is own
    assert configured.book_for(None, measured) is own
    assert usual.book_for(None, measured) is measured
    assert usual.book_for("absent") is DEFAULT_PRICE_BOOK


def test_penalties_are_read_by_their_old_name_too():
    given = EngineConfig(shortage_costs={ServiceClass.BATCH: 3.0, ServiceClass.CRITICAL: 20.0})
    both = msgspec.structs.replace(given, under_provisioning_penalties={ServiceClass.BATCH: 4.0})
    assert given.penalties == {ServiceClass.BATCH: 3.0, ServiceClass.CRITICAL: 20.0}
    assert both.penalties[ServiceClass.BATCH] == 4.0


def test_what_is_written_of_a_configuration_reads_the_same(tmp_path):
    config = load_config(None, {})
    path = tmp_path / "perfopt.yaml"
    path.write_text(yaml.safe_dump(written(config)), encoding="utf-8")
    assert load_config(path, {}).price_books == config.price_books
