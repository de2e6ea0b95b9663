"""The ephemeral certificate that TLS wants: made at every start, trusted by nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificate(configuration: QuicConfiguration) -> None:
    """Give a server configuration a fresh self-signed certificate without any name in it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "-")])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    configuration.certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )
    configuration.private_key = key
