"""Certificates for loopback, and PostgreSQL's TLS in front of a server that was built without.

certificate = make_certificate(directory)
async with tls_postgres(certificate, server_port) as port: ...
"""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

_SSL_REQUEST = (80_877_103).to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate of 127.0.0.1 and its key, PEM files; clients trust it as an authority."""

    file: Path
    key: Path


def make_certificate(directory: Path, name: str = "server") -> Certificate:
    """Makes a certificate of its own; needs the command openssl."""
    certificate = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    files = ["-out", str(certificate.file), "-keyout", str(certificate.key)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return certificate


@contextlib.asynccontextmanager
async def tls_postgres(certificate: Certificate, server_port: int) -> AsyncIterator[int]:
    """Takes connections with PostgreSQL's request for TLS, and only these; gives its port.

    The embedded PostgreSQL has no TLS. What clients see of it, the request, the handshake and the
    certificate, is the same here; the rest is passed on.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.file, certificate.key)
    open_writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if (await reader.readexactly(8))[4:] != _SSL_REQUEST:
                writer.close()
                return
            writer.write(b"S")
            await writer.start_tls(context)
            inside, outside = await asyncio.open_connection("127.0.0.1", server_port)
            open_writers.update((writer, outside))
            await asyncio.gather(_copy(reader, outside), _copy(inside, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_writers:
            writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
