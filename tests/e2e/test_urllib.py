# SPDX-License-Identifier: MIT
"""urllib.request: one CLIENT span for each HTTP exchange."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.traced import Traced
from http_client_cases import HttpClientCases, peers, rules, serve

__all__ = ["peers"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Traced]:
    with serve(tmp_path_factory, build, "calling_urllib:app", rules("URLLIB")) as server:
        yield server


class TestUrllib(HttpClientCases):
    app = "calling_urllib:app"
    scope = "urllib"
    redirects_max = 11
    errors = {
        "redirects": "urllib.error.HTTPError",
        "refused": "urllib.error.URLError",
        "timeout": "TimeoutError",
        "garbage": "http.client.BadStatusLine",
        "empty": "http.client.RemoteDisconnected",
        "name": "urllib.error.URLError",
        "tls": "urllib.error.URLError",
        "proxy-refused": "urllib.error.URLError",
        "proxy-407": "urllib.error.URLError",
        "body-short": "http.client.IncompleteRead",
        "body-chunks-short": "http.client.IncompleteRead",
        "body-chunks-bad": "http.client.IncompleteRead",
    }
