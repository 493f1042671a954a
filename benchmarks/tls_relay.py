"""A relay of its own process that speaks TLS and passes the bytes on to the simulator.

One connection goes on for each that comes in, so that the simulator's count of connections is that of handshakes, and
the CPU of the other side is nobody's. Its chain is what a client of most providers has to verify: a certificate and an
issuer's, signed with RSA of 2048 bits, under a root that it trusts.
"""

import datetime as dt
import ipaddress
import ssl
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate and its key."""

    certificate: "x509.Certificate"
    key: "rsa.RSAPrivateKey"

    def pem(self) -> bytes:
        """Return the certificate, for a file."""
        from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - only the relay needs it

        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        """Return the key, for a file."""
        from cryptography.hazmat.primitives import serialization as how  # noqa: PLC0415 - as above

        return self.key.private_bytes(how.Encoding.PEM, how.PrivateFormat.PKCS8, how.NoEncryption())


def signed(name: str, issuer: Signed | None = None, *, authority: bool = True) -> Signed:
    """Return a certificate for today, signed by the issuer, or by itself; that of a server is for `HOST`."""
    from cryptography import x509  # noqa: PLC0415 - only the relay needs it
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - as above

    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    above = issuer.key if issuer else key
    now = dt.datetime.now(dt.UTC)
    signs = {"key_cert_sign": authority, "crl_sign": authority}
    rest = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    usage = x509.KeyUsage(
        digital_signature=True, encipher_only=False, decipher_only=False, **signs, **dict.fromkeys(rest, False)
    )
    builder = (
        x509.CertificateBuilder(issuer.certificate.subject if issuer else subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False)
    )
    if not authority:
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))])
        builder = builder.add_extension(address, critical=False)
    return Signed(builder.sign(above, hashes.SHA256()), key)


def server_context(root_file: Path) -> ssl.SSLContext:
    """Make a chain of three; write the root's certificate, return what the server needs."""
    root = signed("root")
    between = signed("between", root)
    server = signed("server", between, authority=False)
    root_file.write_bytes(root.pem())
    chain = root_file.with_name("chain.pem")
    chain.write_bytes(server.key_pem() + server.pem() + between.pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


def run_relay(port: int, root_file: Path) -> None:
    """Speak TLS, pass everything on to the port, until killed; write the root to trust, print our own port."""
    import trio  # noqa: PLC0415 - who starts this does without

    context = server_context(root_file)

    async def copy(source: trio.abc.ReceiveStream, target: trio.abc.SendStream, scope: trio.CancelScope) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # whoever left, both connections end
            async for data in source:
                await target.send_all(data)
        scope.cancel()

    async def relay(plain: trio.SocketStream) -> None:
        secret = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
        async with plain:
            try:
                await secret.do_handshake()
            except trio.BrokenResourceError:
                return  # whoever came does not want this
            async with await trio.open_tcp_stream(HOST, port) as target, trio.open_nursery() as nursery:
                nursery.start_soon(copy, secret, target, nursery.cancel_scope)
                nursery.start_soon(copy, target, secret, nursery.cancel_scope)

    async def main() -> None:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST, backlog=4096)
        print(listener.socket.getsockname()[1], flush=True)
        await trio.serve_listeners(relay, [listener])

    trio.run(main)


@contextmanager
def open_relay(url: str, root_file: Path) -> Generator[str]:
    """Start a relay to the server at `url`; give its own address, end it at the end."""
    port = url.removesuffix("/v1").rpartition(":")[2]
    command = [sys.executable, __file__, port, str(root_file)]
    relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield f"https://{HOST}:{(relay.stdout.readline() if relay.stdout else '').strip()}/v1"
    finally:
        relay.terminate()
        relay.wait()


if __name__ == "__main__":
    run_relay(int(sys.argv[1]), Path(sys.argv[2]))
