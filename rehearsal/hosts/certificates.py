"""A throw-away certificate authority, so that hosts trust the stand-ins for sites they cannot reach.

Its key exists for one run, in memory, and signs one certificate. A host that outlives the run has its own authority,
kept with the host. Only those hosts trust it.
"""

import datetime
import functools
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rehearsal.atomic_files import write_atomically
from rehearsal.hosts import aws_sites, standins

_LIFETIME = datetime.timedelta(days=2)
# A kept host trusts the same authority for as long as it is kept.
_ROOT_LIFETIME = datetime.timedelta(days=3650)
_SUBJECT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Rehearsal of this run (throw-away)")])


@dataclass(frozen=True)
class Authority:
    """The authority's certificate in PEM, and the TLS context of a server with one certificate for all names."""

    certificate: str
    server: ssl.SSLContext


def create(names: Sequence[str], kept: Path | None = None) -> Authority:
    """Create an authority, and a server certificate for `names` that is valid from yesterday for two days.

    `kept`: the file of an authority and its key, for a host that trusts it already. It is created when missing.
    """
    if kept is None:
        root_key, root = _root()
    elif kept.exists():
        pem = kept.read_bytes()
        root_key, root = _private_key(pem), x509.load_pem_x509_certificate(pem)
    else:
        root_key, root = _root()
        write_atomically(kept, _as_pem(root_key, root), mode=0o600)
    server_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    server = (
        _certificate(name, server_key.public_key(), _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    return Authority(root.public_bytes(serialization.Encoding.PEM).decode(), _context(_as_pem(server_key, server)))


@functools.cache
def for_region(region: str, kept: Path | None) -> Authority:
    """The authority of this process for the stand-ins of a region's hosts, or the kept one of a single host."""
    return create((*standins.NAMES, *aws_sites.endpoints(region)), kept)


def _root() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _certificate(_SUBJECT, key.public_key(), _ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _as_pem(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: datetime.timedelta
) -> x509.CertificateBuilder:
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_SUBJECT)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(yesterday)
        .not_valid_after(yesterday + lifetime)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _context(pem: bytes) -> ssl.SSLContext:
    """`ssl` reads keys from named files only, so the key gets a name in /proc instead of a file on disk."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    descriptor = os.memfd_create("server-certificate")
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context
