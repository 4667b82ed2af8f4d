"""An application instance certificate of our own for OPC UA: made where there is none, never replaced."""

import datetime
import os
import socket
from pathlib import Path
from typing import Any

from pollux.core.errors import WiringError
from pollux.core.extras import need
from pollux.core.time import Clock

URI = "urn:pollux:client"
YEARS = 10


def ensure_certificate(certificate: Path, key: Path, clock: Clock, uri: str = URI) -> None:
    """Make a key (RSA, 2048 bits, readable by us only) and a certificate for it where both are missing.

    The server's administrator must then trust the certificate. Raises `WiringError` when only one is missing.
    """
    if certificate.exists() != key.exists():
        raise WiringError(
            f"`certificate` and `key` belong together: of {certificate} and {key} only one exists. "
            "Give both, or remove it and both are made."
        )
    if certificate.exists():
        return
    x509 = need("cryptography.x509", "opcua")
    hashes = need("cryptography.hazmat.primitives.hashes", "opcua")
    serial = need("cryptography.hazmat.primitives.serialization", "opcua")
    rsa = need("cryptography.hazmat.primitives.asymmetric.rsa", "opcua")
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Pollux")])
    now = datetime.datetime.fromtimestamp(clock.now(), datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName(socket.gethostname())]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(x509), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH, x509.ExtendedKeyUsageOID.SERVER_AUTH]),
            critical=False,
        )
        .sign(own, hashes.SHA256())
    )
    text = own.private_bytes(serial.Encoding.PEM, serial.PrivateFormat.PKCS8, serial.NoEncryption())
    key.parent.mkdir(parents=True, exist_ok=True)
    certificate.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)
    encoding = serial.Encoding.DER if certificate.suffix == ".der" else serial.Encoding.PEM
    certificate.write_bytes(made.public_bytes(encoding))


def application_uri(certificate: Path) -> str:
    """The application URI that a certificate holds; a server compares it with what the client says."""
    x509 = need("cryptography.x509", "opcua")
    data = certificate.read_bytes()
    found = x509.load_pem_x509_certificate(data) if b"-----BEGIN" in data else x509.load_der_x509_certificate(data)
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.UniformResourceIdentifier)[0]
    except (x509.ExtensionNotFound, IndexError):
        raise WiringError(
            f"A certificate for OPC UA holds the application's URI: {certificate} has none. Make one with a "
            "`subjectAltName` of `URI:...`, or remove it and its key, and both are made."
        ) from None


def _usage(x509: Any) -> Any:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True,
        key_agreement=False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
