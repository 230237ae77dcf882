# SPDX-License-Identifier: MIT
"""An authority of the tests' own, and certificates by it."""

import ssl
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """Issues certificates; `file` is its own certificate, for those who are to believe it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ca = trustme.CA()
        self.file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(
        self, *names: str, self_signed: bool = False, **more: datetime
    ) -> tuple[Path, Path]:
        """Returns the files of a certificate for these names (or addresses) and of its key.

        more: not_before, not_after. With `self_signed` it has no authority but itself.
        """
        if self_signed:
            return _self_signed(self.folder, names[0])
        made = self._ca.issue_cert(*names, **more)
        certificate, key = (self.folder / f"{names[0]}.{end}" for end in ("pem", "key"))
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        return certificate, key

    def server_context(self, *names: str, clients: bool = False, **more: Any) -> ssl.SSLContext:
        """Returns what a server needs; with `clients`, it wants certificates of ours from them.
        more: as for issue()."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.issue(*names, **more))
        if clients:
            context.load_verify_locations(self.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def grpc_credentials(
        self, *names: str, clients: bool = False, **more: Any
    ) -> grpc.ServerCredentials:
        """The same for a gRPC server."""
        certificate, key = self.issue(*names, **more)
        return grpc.ssl_server_credentials(
            [(key.read_bytes(), certificate.read_bytes())],
            self.file.read_bytes() if clients else None,
            clients,
        )


def _self_signed(folder: Path, address: str) -> tuple[Path, Path]:
    """Returns the files of a certificate for an address that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "self-signed.pem", folder / "self-signed.key"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
