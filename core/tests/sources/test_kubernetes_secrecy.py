"""Variables, arguments and annotations that look like secrets never become part of a workload's state."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from perfopt.sources.kubernetes.secrecy import (
    concealed,
    kept_annotations,
    kept_arguments,
    kept_env,
    looks_secret,
)

SECRET = "c0rrect-horse"


@pytest.mark.parametrize(
    "name",
    ["DB_PASSWORD", "dbPasswd", "REDIS_PASS", "GITHUB_TOKEN", "STRIPE_KEY", "api-key", "clientSecret",
     "AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "SESSION_COOKIE", "BASIC_AUTH", "JWT_SALT"],
)  # fmt: skip
def test_names_that_look_secret(name):
    assert looks_secret(name)
    assert kept_env({name: SECRET, "GOGC": "50"}) == {"GOGC": "50"}


def test_no_variable_of_a_knob_looks_secret():
    from importlib.resources import files

    text = files("perfopt_tuning.knobs").joinpath("knobs.yaml").read_text("utf-8")
    catalogue = yaml.safe_load(text)
    names = [name for runtime in catalogue["runtimes"].values() for name in runtime.get("env", ())]
    names += [knob["set"]["env"] for knob in catalogue["knobs"].values() if "env" in knob["set"]]
    assert not [name for name in names if looks_secret(name)]


@pytest.mark.parametrize(
    "text",
    [f"--db-password={SECRET}", f"-Djavax.net.ssl.trustStorePassword={SECRET} -Xmx1g",
     f"amqp://user:{SECRET}@mq:5672/", f"exec app --token {SECRET} --workers 4", f"API_KEY={SECRET} exec app",
     f'{{"password": "{SECRET}", "a": 1}}', f"curl -H 'Authorization: Bearer {SECRET}'",
     f"jdbc:postgresql://db/x?user=app&password={SECRET}", f"-----BEGIN PRIVATE KEY-----{SECRET}",
     f"app --client-secret '{SECRET} and more'", f"https://{SECRET.replace('-', '')}:{SECRET}@host/"],
)  # fmt: skip
def test_what_looks_secret_within_a_text_is_concealed(text):
    assert SECRET not in concealed(text)
    assert "***" in concealed(text)


@pytest.mark.parametrize(
    "text",
    ["-XX:MaxRAMPercentage=75 -XX:+UseG1GC", "--workers=4 --timeout-keep-alive 65", "http://db:5432/pricing",
     "--max-old-space-size=900", "uvicorn app:main --port 8080"],
)  # fmt: skip
def test_settings_stay_as_they_are(text):
    assert concealed(text) == text


def test_an_argument_after_a_flag_that_names_a_secret_is_concealed():
    assert kept_arguments(["--token", SECRET, "--workers", "4"]) == ("--token", "***", "--workers", "4")
    assert kept_arguments(["--secure-cookies", "--workers", "4"]) == ("--secure-cookies", "--workers", "4")
    assert kept_arguments(None) is None


def test_of_annotations_neither_copies_of_the_manifest_nor_secrets_are_kept():
    told = {
        "kubectl.kubernetes.io/last-applied-configuration": SECRET,
        "vault/token": SECRET,
        "note": f"password={SECRET}",
        "team": "a",
        "perfopt.io/knob.api_key_cache": "4",
    }
    kept = kept_annotations(told, "perfopt.io/")
    assert kept == {"note": "password=***", "team": "a", "perfopt.io/knob.api_key_cache": "4"}


@given(text=st.text())
def test_concealing_twice_changes_nothing(text):
    assert concealed(concealed(text)) == concealed(text)
