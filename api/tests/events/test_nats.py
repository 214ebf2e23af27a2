"""Logins of NATS as its URLs have them."""

import subprocess

import pytest

from perfopt.errors import InvalidInputError, UnavailableError
from perfopt_api.childserver import free_port
from perfopt_api.embedded import nats_program
from perfopt_api.events.nats import NatsConnection


@pytest.mark.parametrize(
    ("arguments", "login", "wrong"),
    [
        (("--user", "a b", "--pass", "p@ss/w:d,x"), "a%20b:p%40ss%2Fw%3Ad%2Cx", "a%20b:other"),
        (("--auth", "to@ken/x"), "to%40ken%2Fx", "other"),
    ],
)
async def test_a_percent_encoded_login_is_decoded_and_never_shown(arguments, login, wrong):
    port = free_port()
    command = [nats_program(), "-a", "127.0.0.1", "-p", str(port), *arguments]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            opened = await NatsConnection.connect(f"nats://{login}@127.0.0.1:{port}", name="test", within=5)
            await opened.ping()
            await opened.close()
            with pytest.raises(UnavailableError) as caught:
                await NatsConnection.connect(f"nats://{wrong}@127.0.0.1:{port}", name="test", within=1)
            assert f"NATS at 127.0.0.1:{port} is not reachable" in str(caught.value)
            assert wrong not in str(caught.value)
        finally:
            process.kill()


async def test_a_certificate_that_cannot_be_read_is_named():
    with pytest.raises(InvalidInputError, match=r"/nowhere\.pem cannot be read"):
        await NatsConnection.connect("tls://127.0.0.1:1", name="test", within=1, ca_file="/nowhere.pem")
