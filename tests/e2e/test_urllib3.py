# SPDX-License-Identifier: MIT
"""urllib3: one CLIENT span for each attempt to have a request answered."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.traced import Traced
from http_client_cases import HttpClientCases, peers, rules, serve

__all__ = ["peers"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Traced]:
    with serve(tmp_path_factory, build, "calling_urllib3:app", rules("URLLIB3")) as server:
        yield server


class TestUrllib3(HttpClientCases):
    app = "calling_urllib3:app"
    scope = "urllib3"
    redirects_max = 31
    reads_first = True
    errors = {
        "redirects": "urllib3.exceptions.MaxRetryError",
        "refused": "urllib3.exceptions.NewConnectionError",
        "timeout": "urllib3.exceptions.ReadTimeoutError",
        "garbage": "urllib3.exceptions.ProtocolError",
        "empty": "urllib3.exceptions.ProtocolError",
        "name": "urllib3.exceptions.NameResolutionError",
        "tls": "urllib3.exceptions.SSLError",
        "proxy-refused": "urllib3.exceptions.ProxyError",
        "proxy-407": "urllib3.exceptions.ProxyError",
        "body-short": "urllib3.exceptions.ProtocolError",
        "body-chunks-short": "urllib3.exceptions.ProtocolError",
        "body-chunks-bad": "urllib3.exceptions.ProtocolError",
    }
    # What says that there is no other attempt, where there might have been one.
    raised = dict.fromkeys(
        [*(kind for kind in errors if not kind.startswith("body-")), "body"],
        "urllib3.exceptions.MaxRetryError",
    )
