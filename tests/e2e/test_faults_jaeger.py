# SPDX-License-Identifier: MIT
"""A real Jaeger that is stopped and started while an application serves: nothing is lost."""

import os
import re
import signal
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harness.counts import counts
from harness.deadline import scaled, until
from harness.jaeger import Jaeger
from harness.process import Runner, Server

# Of the medians, and of what nine of ten requests stay below. A hook that waits for a collector
# takes hundreds of times as long.
SLOWER = 20


class Load(threading.Thread):
    """Asks a traced server and a bare one in turn, all requests of one trace, until it is told to
    end; `times` are the seconds that each request took."""

    def __init__(self, traced: Server, bare: Server) -> None:
        super().__init__(daemon=True)
        self.trace_id = os.urandom(16).hex()
        self.times: dict[Server, list[float]] = {traced: [], bare: []}
        self.wrong: list[Any] = []
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.over.wait(0.005):
            for server, times in self.times.items():
                headers = {"traceparent": f"00-{self.trace_id}-{os.urandom(8).hex()}-01"}
                start = time.monotonic()
                answer = server.get("/items/1", headers=headers)
                times.append(time.monotonic() - start)
                if (answer.status_code, answer.text) != (200, "item 1"):
                    self.wrong.append(answer)


@pytest.mark.timeout(scaled(300))
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_stopped_and_started(
    run: Runner, tmp_path: Path, protocol: str, how: signal.Signals
) -> None:
    jaeger = Jaeger(os.environ["FAA_TEST_JAEGER"], tmp_path, kept=True)
    try:
        endpoint = jaeger.grpc_endpoint if protocol == "grpc" else jaeger.http_endpoint
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc" if protocol == "grpc" else "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "10",
            "FAA_LOG_LEVEL": "debug",
        }
        traced = run.uvicorn("selfcall:app", env=env)
        bare = run.uvicorn("selfcall:app", agent="none")
        load = Load(traced, bare)
        for turn in range(1, 3):
            time.sleep(0.5)
            jaeger.stop(how)
            until(lambda: len(lines(traced, "cannot send")) == turn, 20, traced.describe)
            time.sleep(0.5)
            jaeger.start_again()
            until(lambda: len(lines(traced, "reach .* again")) == turn, 40, traced.describe)
        time.sleep(0.3)
        load.over.set()
        load.join()
        assert traced.stop() == bare.stop() == -signal.SIGTERM
        counted = counts(traced)
        found = {span.span_id for span in jaeger.wait(load.trace_id, counted.exported)}
    finally:
        jaeger.stop()
    sent = len(load.times[traced])
    assert sent > 100 and load.wrong == []
    assert counted.ended == sent == len(found) + counted.dropped
    assert counted.exported == sent, "the buffer holds all that was sent in these seconds"
    for place in (4, 8):
        slow, usual = (statistics.quantiles(load.times[s], n=10)[place] for s in (traced, bare))
        assert slow < SLOWER * usual, (place, slow, usual)


def lines(server: Server, pattern: str) -> list[str]:
    """The agent's warnings that match."""
    return [line for line in server.agent_lines if re.search(f" warning: .*{pattern}", line)]
