"""The section `service`: defaults, overrides, what is refused, and that secrets stay secret."""

import msgspec
import pytest

from perfopt.config.loading import Config
from perfopt.config.show import redact
from perfopt.errors import InvalidInputError
from perfopt_api.settings import ServiceSettings, service_settings, with_service
from perfopt_api.standalone import config_file


def read(**section) -> ServiceSettings:
    return service_settings(Config(sections={"service": section}))


def test_without_a_section_the_defaults_hold():
    assert service_settings(Config()) == ServiceSettings()
    assert ServiceSettings().host == "127.0.0.1"  # nobody is let in from outside unless asked for


def test_text_from_the_environment_becomes_numbers_and_truths():
    settings = read(port="9000", log_json="false", lease_seconds="15")
    assert (settings.port, settings.log_json, settings.lease_seconds) == (9000, False, 15.0)


@pytest.mark.parametrize(
    ("section", "field", "message"),
    [
        ({"prot": 80}, "service.prot", "no field 'prot'"),
        ({"port": 70000}, "service.port", "0 to 65535"),
        ({"database_url": "mysql://x/y"}, "service", "database_url must start with postgresql://"),
        ({"nats_url": "nats://a:4222,http://b"}, "service", "nats_url must start with nats://"),
        ({"base_url": "perfopt.example"}, "service", "base_url must start with http://"),
        ({"event_stream": "a.b"}, "service.event_stream", "regex"),
        ({"api_keys": {"alice": {"token": "short"}}}, "service.api_keys", "length >= 16"),
        (
            {"api_keys": {"a": {"token": "x" * 16}, "b": {"token": "x" * 16}}},
            "service",
            "two api_keys have the same token",
        ),
    ],
)
def test_a_wrong_setting_is_named(section, field, message):
    with pytest.raises(InvalidInputError) as caught:
        read(**section)
    assert message in str(caught.value)
    assert (caught.value.field or "").startswith(field)


def test_secrets_are_read_from_the_environment_and_from_files(tmp_path, monkeypatch):
    secret = tmp_path / "url"
    secret.write_text("nats://u:p@nats:4222\n")
    monkeypatch.setenv("DB_URL", "postgresql://u:p@db/x")
    monkeypatch.setenv("KEY", "k" * 16)
    settings = read(
        database_url="env:DB_URL", nats_url=f"file:{secret}", api_keys={"a": {"token": "env:KEY"}}
    )
    assert settings.database_url == "postgresql://u:p@db/x"
    assert settings.nats_url == "nats://u:p@nats:4222"
    assert settings.api_keys["a"].token == "k" * 16


@pytest.mark.parametrize(
    ("name", "value", "section", "message"),
    [
        (None, None, {"database_url": "env:DB_URL"}, "environment variable DB_URL is not set"),
        ("KEY", "short", {"api_keys": {"a": {"token": "env:KEY"}}}, "length >= 16"),
        ("DB_URL", "mysql://x", {"database_url": "env:DB_URL"}, "must start with postgresql://"),
    ],
)
def test_a_secret_that_is_not_there_or_wrong_is_named(monkeypatch, name, value, section, message):
    if name is not None:
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInputError, match=message):
        read(**section)


def test_tokens_and_passwords_are_not_shown():
    settings = read(
        database_url="postgresql://perfopt:hunter2hunter2@db/perfopt",
        api_keys={"alice": {"token": "correct-horse-battery"}},
    )
    shown = str(redact(msgspec.to_builtins(settings)))
    assert "hunter2" not in shown
    assert "correct-horse" not in shown
    assert "alice" in shown


def test_options_of_the_command_line_come_before_the_file():
    config = with_service(Config(sections={"service": {"port": 1, "host": "::1"}}), port=2, host=None)
    assert (service_settings(config).port, service_settings(config).host) == (2, "::1")


def test_the_file_for_the_worker_is_private_and_says_the_same(tmp_path):
    import yaml

    config = with_service(Config(), nats_url="nats://example:1")
    with config_file(config) as path:
        assert path.stat().st_mode & 0o077 == 0
        data = yaml.safe_load(path.read_text())
    assert data["service"] == {"nats_url": "nats://example:1"}
    assert not path.exists()
