# SPDX-License-Identifier: MIT
"""An authority of the tests' own, and certificates by it."""

import ssl
from pathlib import Path

import grpc
import trustme


class Authority:
    """Issues certificates; `file` is its own certificate, for those who are to believe it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ca = trustme.CA()
        self.file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, *names: str) -> tuple[Path, Path]:
        """Returns the files of a certificate for these names (or addresses) and of its key."""
        made = self._ca.issue_cert(*names)
        certificate, key = (self.folder / f"{names[0]}.{end}" for end in ("pem", "key"))
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        return certificate, key

    def server_context(self, *names: str, clients: bool = False) -> ssl.SSLContext:
        """Returns what a server needs; with `clients`, it wants certificates of ours from them."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.issue(*names))
        if clients:
            context.load_verify_locations(self.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def grpc_credentials(self, *names: str, clients: bool = False) -> grpc.ServerCredentials:
        """The same for a gRPC server."""
        certificate, key = self.issue(*names)
        return grpc.ssl_server_credentials(
            [(key.read_bytes(), certificate.read_bytes())],
            self.file.read_bytes() if clients else None,
            clients,
        )
