# SPDX-License-Identifier: MIT
"""A real Jaeger on free ports, and its query API."""

import base64
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import httpx
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from .deadline import scaled, until
from .otlp import Span, describe, flatten
from .process import TOP, Process

CONFIG = TOP / "tests" / "jaeger" / "config.yaml"
KEPT = TOP / "tests" / "jaeger" / "kept.yaml"
_PORTS = (
    "OTLP_GRPC_PORT",
    "OTLP_HTTP_PORT",
    "JAEGER_UI_PORT",
    "JAEGER_QUERY_GRPC_PORT",
    "JAEGER_SAMPLING_GRPC_PORT",
    "JAEGER_SAMPLING_HTTP_PORT",
)


class Jaeger:
    """Starts Jaeger and waits until it answers. With `kept` its traces outlive it, in `directory`.

    Raises AssertionError with its log when it does not come up in a few tries (a port may be
    taken by somebody between our choice and its start).
    """

    def __init__(self, binary: str, directory: Path, *, kept: bool = False) -> None:
        configs = [CONFIG, KEPT] if kept else [CONFIG]
        self._command = [binary, *(word for one in configs for word in ("--config", str(one)))]
        self._starts = 0
        self._directory = directory
        self._strategies = directory / "strategies.json"
        self.set_strategies({})
        for _ in range(5):
            if self._start(dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))):
                return
        raise AssertionError(f"Jaeger does not start: {self.process.describe()}")

    def start_again(self) -> None:
        """Starts it on the ports that it had, after stop(). Raises AssertionError."""
        assert self._start(self._ports), f"Jaeger does not start: {self.process.describe()}"

    def _start(self, ports: dict[str, int]) -> bool:
        self._ports = ports
        self.grpc_endpoint = f"http://127.0.0.1:{ports['OTLP_GRPC_PORT']}"
        self.http_endpoint = f"http://127.0.0.1:{ports['OTLP_HTTP_PORT']}"
        self.ui = f"http://127.0.0.1:{ports['JAEGER_UI_PORT']}"
        self.sampling_endpoint = f"http://127.0.0.1:{ports['JAEGER_SAMPLING_GRPC_PORT']}"
        self.sampling_http = f"http://127.0.0.1:{ports['JAEGER_SAMPLING_HTTP_PORT']}"
        env = {name: str(port) for name, port in ports.items()}
        env |= {"PATH": os.environ["PATH"], "HOME": str(self._directory)}
        env["JAEGER_SAMPLING_FILE"] = str(self._strategies)
        env["JAEGER_DATA"] = str(self._directory)
        log = self._directory / f"jaeger-{self._starts}"
        self._starts += 1
        self.process = Process(self._command, env, self._directory, log)
        self._client = httpx.Client(base_url=self.ui, trust_env=False, timeout=scaled(20))
        try:
            until(
                lambda: self.process.status is not None or self._ready(set(ports.values())),
                30,
                lambda: f"Jaeger is not ready: {self.process.describe()}",
            )
        except AssertionError:
            self.stop()
            raise
        if self.process.status is not None:
            self.stop()
            return False
        return True

    def _ready(self, ports: set[int]) -> bool:
        if not ports <= self.process.listening_ports():
            return False  # Somebody else may have one of them.
        try:
            return self._client.get("/api/services").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, signum: int = signal.SIGKILL) -> None:
        """Ends Jaeger, which forgets its traces where they are not kept."""
        self._client.close()
        self.process.stop(signum)
        self.process.kill()

    def set_strategies(self, services: dict[str, dict[str, Any]]) -> None:
        """Replaces the sampling strategies: of each service a strategy as in Jaeger's file format
        ({"type": "probabilistic", "param": 0.5}); the others have all their spans sampled.

        A Jaeger that runs takes them over soon.
        """
        strategies = {
            "service_strategies": [
                {"service": name, **strategy} for name, strategy in services.items()
            ],
            "default_strategy": {"type": "probabilistic", "param": 1},
        }
        written = self._strategies.with_suffix(".new")
        written.write_text(json.dumps(strategies))
        written.replace(self._strategies)

    def services(self) -> list[str]:
        """Returns the names of the services that have sent spans."""
        return sorted(self._get("/api/services")["data"] or [])

    def traces(self, service: str, limit: int = 1000) -> list[dict[str, Any]]:
        """Returns the traces of a service as Jaeger's UI gets them (times in µs)."""
        found = self._get("/api/traces", service=service, limit=limit)["data"]
        assert isinstance(found, list)
        return found

    def spans(self, trace_id: str) -> list[Span]:
        """Returns the spans of one trace (32 hex digits); an empty list for an unknown one.

        Where Jaeger dislikes a span, it has an attribute "@jaeger@warnings".
        """
        answer = self._client.get(f"/api/v3/traces/{trace_id}")
        if answer.status_code == 404:
            return []
        answer.raise_for_status()
        data = answer.json()["result"]
        _hex_to_base64(data)
        return flatten(ParseDict(data, TracesData()).resource_spans)

    def wait(self, trace_id: str, count: int, timeout: float = 10) -> list[Span]:
        """Returns the spans of a trace once there are `count`. Raises AssertionError with those
        that had come when time is over."""
        found: list[Span] = []

        def probe() -> bool:
            found[:] = self.spans(trace_id)
            return len(found) >= count

        until(probe, timeout, lambda: f"no {count} spans of {trace_id} but\n{describe(found)}")
        return found

    def _get(self, path: str, **query: Any) -> Any:
        answer = self._client.get(path, params=query)
        answer.raise_for_status()
        return answer.json()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _hex_to_base64(data: dict[str, Any]) -> None:
    """OTLP's JSON has ids in hex where protobuf's JSON has base64."""
    for resource in data.get("resourceSpans", []):
        for scope in resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                for owner in (span, *span.get("links", [])):
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if key in owner:
                            owner[key] = base64.b64encode(bytes.fromhex(owner[key])).decode()
