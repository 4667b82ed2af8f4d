"""An authority of our own and certificates for 127.0.0.1, for tests of TLS."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    folder: Path
    pair: Pair
    name: Any
    own: Any

    def issue(self, name: str, password: str | None = None) -> Pair:
        """A certificate for 127.0.0.1, signed by the authority; the key encrypted where a password is given."""
        return _make(self.folder, name, self, password)


def authority(folder: Path, name: str = "ca") -> Authority:
    pytest.importorskip("cryptography")
    pair = _make(folder, name, None, None)
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    own = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    return Authority(folder, pair, x509.load_pem_x509_certificate(pair.certificate.read_bytes()).subject, own)


def _make(folder: Path, name: str, issuer: Authority | None, password: str | None) -> Pair:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signer = issuer.own if issuer else key
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.name if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(signer, hashes.SHA256())
    )
    lock = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    pair.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))
    return pair
