import yaml
from config_file import write_config

from perfopt.config.loading import load_config
from perfopt.config.show import REDACTED, effective, redact
from perfopt.domain.price import DEFAULT_PRICE_BOOK


def shown_of(config):
    return effective(config, {"sizer": {"headroom": 2.0, "names": ["a"]}}, config.document)


def test_what_is_shown_has_no_secret_in_it(file):
    shown = shown_of(load_config(file, {})).data
    text = str(shown)
    assert "s3cr3t" not in text
    assert "abc" not in text
    assert "Zm9v" not in text
    prod = shown["sources"]["prod"]
    assert prod["url"] == f"https://metrics:{REDACTED}@prometheus.example/base"
    assert prod["headers"] == {"X-Scope-OrgID": "trading", "Authorization": REDACTED}
    assert shown["engine"]["deadline_seconds"] == 20


def test_database_urls_and_nested_secrets_are_redacted():
    given = {
        "database_url": "postgresql+asyncpg://user:pa/ss@db/perfopt",
        "nats": [{"url": "nats://token:x@n1:4222", "token": "t"}],
        "bearer_token_file": "/var/run/token",
        "password": None,
        "urls": ["nats://t0k3n@n1:4222", "postgresql://user@db/perfopt"],
        "dsn": "postgresql://host/db?user=u&password=p%40ss&sslmode=require",
    }
    assert redact(given) == {
        "database_url": f"postgresql+asyncpg://user:{REDACTED}@db/perfopt",
        "nats": [{"url": f"nats://token:{REDACTED}@n1:4222", "token": REDACTED}],
        "bearer_token_file": "/var/run/token",
        "password": None,
        "urls": [f"nats://{REDACTED}@n1:4222", "postgresql://user@db/perfopt"],
        "dsn": f"postgresql://host/db?user=u&password={REDACTED}&sslmode=require",
    }


def test_every_setting_says_where_it_is_set(file):
    environ = {"PERFOPT_ENGINE__PROCESSES": "3"}
    config = load_config(file, environ, ["sizer.headroom=2"])
    origins = shown_of(config).origins
    assert origins["engine.deadline_seconds"] == f"{file}:16"
    assert origins["engine.processes"] == "PERFOPT_ENGINE__PROCESSES"
    assert origins["engine.memory_limit_mib"] == "default"
    assert origins["plugins.sizer.headroom"] == "--set"
    assert origins["plugins.sizer.names"] == "default"
    assert origins["sources.prod.url"] == f"{file}:6"
    assert origins["sources.prod.headers.X-Scope-OrgID"] == f"{file}:8"
    assert origins["sources.traces.services"] == "default"


def test_a_price_book_from_another_file_is_set_where_the_file_is_named(tmp_path):
    book = tmp_path / "book.yaml"
    book.write_text("{currency: EUR, cpu_core_hour: 0.018, memory_gib_hour: 0.0024}")
    path = write_config(tmp_path, f"price_books:\n  onprem: {book}\n")
    origins = shown_of(load_config(path, {})).origins
    assert origins["price_books.onprem.currency"] == f"{path}:2"
    assert origins[f"price_books.{DEFAULT_PRICE_BOOK.name}.currency"] == "default"


def test_the_yaml_is_a_configuration_again(file):
    shown = shown_of(load_config(file, {}))
    lines = shown.to_yaml().splitlines()
    assert f"  deadline_seconds: 20.0  # {file}:16" in lines
    assert "    names: [a]  # default" in lines
    assert yaml.safe_load(shown.to_yaml()) == yaml.safe_load(yaml.safe_dump(shown.data))
