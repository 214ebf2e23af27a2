"""Logins and certificates of NATS as its URLs have them."""

import asyncio
import os
import subprocess

import nkeys
import pytest
from tls import make_certificate

from perfopt.errors import InvalidInputError, UnavailableError
from perfopt_api.childserver import free_port
from perfopt_api.embedded import nats_program
from perfopt_api.events.nats import NatsConnection, NatsFiles


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
        await NatsConnection.connect(
            "tls://127.0.0.1:1", name="test", within=1, files=NatsFiles(ca="/nowhere.pem")
        )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def port(certificate):
    """A server that takes TLS only."""
    port = free_port()
    place = ["-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(certificate.file.parent / "store")]
    tls = ["--tls", "--tlscert", str(certificate.file), "--tlskey", str(certificate.key)]
    with subprocess.Popen([nats_program(), *place, *tls], stderr=subprocess.DEVNULL) as process:
        yield port
        process.kill()


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_certificate_is_verified_against_the_ca_file(certificate, port, scheme):
    opened = await NatsConnection.connect(
        f"{scheme}://127.0.0.1:{port}", name="test", within=10, files=NatsFiles(ca=str(certificate.file))
    )
    await opened.ping()
    assert (await opened.jetstream.account_info()).streams == 0
    await opened.close()


async def test_another_authority_s_certificate_is_refused(port, tmp_path):
    other = make_certificate(tmp_path, "other")
    with pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        await NatsConnection.connect(
            f"tls://127.0.0.1:{port}", name="test", within=2, files=NatsFiles(ca=str(other.file))
        )


async def test_the_next_server_is_taken_when_the_first_is_not_there(certificate, port):
    servers = f"tls://127.0.0.1:{free_port()},tls://127.0.0.1:{port}"
    opened = await NatsConnection.connect(
        servers, name="test", within=20, files=NatsFiles(ca=str(certificate.file))
    )
    await asyncio.wait_for(opened.ping(), 5)
    await opened.close()


async def test_a_certificate_of_our_own_is_asked_for_and_shown(certificate, tmp_path):
    port = free_port()
    ours = make_certificate(tmp_path, "client")
    tls = ["--tlsverify", "--tlscert", str(certificate.file), "--tlskey", str(certificate.key)]
    place = ["-a", "127.0.0.1", "-p", str(port), "--tlscacert", str(ours.file)]
    with subprocess.Popen([nats_program(), *place, *tls], stderr=subprocess.DEVNULL) as process:
        try:
            files = NatsFiles(str(certificate.file), str(ours.file), str(ours.key))
            opened = await NatsConnection.connect(f"tls://127.0.0.1:{port}", name="t", within=10, files=files)
            await opened.ping()
            await opened.close()
            without = NatsFiles(str(certificate.file))
            with pytest.raises(UnavailableError):
                await NatsConnection.connect(f"tls://127.0.0.1:{port}", name="t", within=1, files=without)
        finally:
            process.kill()


async def test_an_nkey_signs_in(tmp_path):
    pair = nkeys.from_seed(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
    seed = tmp_path / "user.nk"
    seed.write_bytes(pair.seed)
    config = tmp_path / "nats.conf"
    port = free_port()
    users = f'authorization {{ users = [ {{ nkey: "{pair.public_key.decode()}" }} ] }}'
    config.write_text(f'listen: "127.0.0.1:{port}"\n{users}\n')
    with subprocess.Popen([nats_program(), "-c", str(config)], stderr=subprocess.DEVNULL) as process:
        try:
            files = NatsFiles(nkey_seed=str(seed))
            opened = await NatsConnection.connect(
                f"nats://127.0.0.1:{port}", name="t", within=10, files=files
            )
            await opened.ping()
            await opened.close()
            with pytest.raises(UnavailableError):
                await NatsConnection.connect(f"nats://127.0.0.1:{port}", name="t", within=1)
        finally:
            process.kill()


@pytest.mark.parametrize("field", ["credentials", "nkey_seed"])
async def test_a_missing_file_is_named(field):
    with pytest.raises(InvalidInputError, match=r"/nowhere cannot be read"):
        await NatsConnection.connect(
            "nats://127.0.0.1:1", name="t", within=1, files=NatsFiles(**{field: "/nowhere"})
        )
