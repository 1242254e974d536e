"""Certificates for servers on loopback, made by the ``openssl`` program."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.require import absent


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate.

    Attributes:
        certificate: Its file, in PEM.
        key: The file of its private key.
    """

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """What a server needs to show it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def self_signed(directory: Path, name: str = "IP:127.0.0.1", *, days: int = 30) -> Certificate:
    """Makes a certificate that nobody trusts, unless told to.

    Args:
        directory: Where its two files go.
        name: What it is made for, as a subject alternative name.
        days: How long it is valid from now on.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        absent("openssl", "apt-get install openssl")
    stem = name.replace(":", "-")
    made = Certificate(directory / f"{stem}-{days}.pem", directory / f"{stem}-{days}.key")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=looopy-otel test"),
            *("-days", str(days), "-addext", f"subjectAltName={name}"),
            *("-keyout", str(made.key), "-out", str(made.certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return made
