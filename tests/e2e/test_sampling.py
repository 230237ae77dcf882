# SPDX-License-Identifier: MIT
"""Samplers: which spans are recorded, by the standard's variables and by a real Jaeger's word."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import sampling

from harness.deadline import scaled, until
from harness.jaeger import Jaeger
from harness.process import Runner, Server
from harness.raw import RawServer
from harness.receiver import HttpReceiver
from harness.sampling import SamplingManager, ratio
from harness.target import Target
from harness.tree import one

SAMPLER, ARG = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
TOP = 1 << 64

# Lower halves of trace ids on both sides of the bounds of 0.25 and 0.001, and anywhere.
BOUNDS = [round(value * TOP) for value in (0.25, 0.001)]
LOWS = [1, TOP - 1, TOP // 2 - 1, TOP // 2]
LOWS += [bound + step for bound in BOUNDS for step in (-1, 0, 1)]
LOWS += [number * 0x9E3779B97F4A7C15 % TOP for number in range(1, 24)]

# What the Python SDK does for the same settings.
ORACLES: dict[str, tuple[dict[str, str], sampling.Sampler]] = {
    "none set": ({}, sampling.ParentBased(sampling.ALWAYS_ON)),
    "always_on": ({SAMPLER: "always_on"}, sampling.ALWAYS_ON),
    "always_off": ({SAMPLER: "always_off"}, sampling.ALWAYS_OFF),
    "traceidratio": (
        {SAMPLER: "traceidratio", ARG: "0.25"},
        sampling.TraceIdRatioBased(0.25),
    ),
    "small traceidratio": (
        {SAMPLER: "TraceIdRatio", ARG: "1e-3"},
        sampling.TraceIdRatioBased(0.001),
    ),
    "traceidratio without arg": ({SAMPLER: "traceidratio"}, sampling.TraceIdRatioBased(1.0)),
    "parentbased_always_on": (
        {SAMPLER: "parentbased_always_on", ARG: "0"},
        sampling.ParentBased(sampling.ALWAYS_ON),
    ),
    "parentbased_always_off": (
        {SAMPLER: "PARENTBASED_ALWAYS_OFF"},
        sampling.ParentBased(sampling.ALWAYS_OFF),
    ),
    "parentbased_traceidratio": (
        {SAMPLER: "parentbased_traceidratio", ARG: "0.25"},
        sampling.ParentBased(sampling.TraceIdRatioBased(0.25)),
    ),
}


def wanted(sampler: sampling.Sampler, trace_id: int, flags: int | None) -> bool:
    """Returns what the SDK's sampler decides, for a remote parent or for a root (flags None)."""
    context = None
    if flags is not None:
        parent = trace.SpanContext(trace_id, 0xABC, True, trace.TraceFlags(flags))
        context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    return sampler.should_sample(context, trace_id, "GET").decision.is_sampled()


@pytest.mark.parametrize("name", ORACLES)
def test_decisions_are_those_of_the_python_sdk(
    run: Runner, receiver: HttpReceiver, name: str
) -> None:
    env, oracle = ORACLES[name]
    server = run.uvicorn("sampled:app", env=receiver.env | env)
    expected = set()
    for number, low in enumerate(LOWS):
        for flags in (0, 1):
            high = os.urandom(8).hex()
            trace_id = f"{high}{low:016x}"
            server.get("/plain", headers={"traceparent": f"00-{trace_id}-{'7' * 16}-{flags:02}"})
            if wanted(oracle, int(trace_id, 16), flags):
                expected.add((trace_id, number))
    roots = 60
    for _ in range(roots):
        server.get("/plain")
    assert server.stop() == -15
    assert server.agent_lines == []
    got = {span.trace_id for span in receiver.spans if span.parent_id}
    assert got == {trace_id for trace_id, _ in expected}
    # The ids of roots are theirs to choose: those that came must be ones the SDK takes, too.
    begun = [int(span.trace_id, 16) for span in receiver.spans if not span.parent_id]
    assert all(wanted(oracle, trace_id, None) for trace_id in begun)
    if wanted(oracle, TOP - 1, None):
        assert len(begun) == roots
    elif not wanted(oracle, 1, None):
        assert begun == []
    elif "0.25" in env.values():
        assert 0 < len(begun) < roots


def test_what_is_not_sampled_still_propagates(
    run: Runner, receiver: HttpReceiver, target: Target
) -> None:
    env = {SAMPLER: "always_off", "TARGET": target.url}
    server = run.uvicorn("sampled:app", env=receiver.env | env)
    trace_id = os.urandom(16).hex()
    headers = {"traceparent": f"00-{trace_id}-{'7' * 16}-01", "tracestate": "vendor=value"}
    given = server.get("/call", headers=headers).json()
    version, passed_on, span_id, flags = given["traceparent"].split("-")
    assert (version, passed_on, flags) == ("00", trace_id, "00")
    assert span_id not in ("7" * 16, "0" * 16)
    assert given["tracestate"] == "vendor=value"
    begun = server.get("/call").json()["traceparent"].split("-")
    assert begun[1] not in ("0" * 32, trace_id) and begun[3] == "00"
    assert server.stop() == -15
    assert receiver.requests == []
    assert server.agent_lines == []


def test_always_on_samples_under_a_parent_that_is_not(
    run: Runner, receiver: HttpReceiver, target: Target
) -> None:
    env = {SAMPLER: "always_on", "TARGET": target.url}
    server = run.uvicorn("sampled:app", env=receiver.env | env)
    trace_id = os.urandom(16).hex()
    headers = {"traceparent": f"00-{trace_id}-{'7' * 16}-00"}
    given = server.get("/call", headers=headers).json()["traceparent"].split("-")
    spans = receiver.wait(2)
    client, inner = one(spans, kind="CLIENT"), one(spans, kind="SERVER")
    assert inner.parent_id == "7" * 16 and client.parent_id == inner.span_id
    assert given == ["00", trace_id, client.span_id, "01"]
    assert {span.flags & 1 for span in spans} == {1}


def test_one_decision_counts_for_the_whole_trace(
    run: Runner, receiver: HttpReceiver, target: Target
) -> None:
    env = {SAMPLER: "parentbased_traceidratio", ARG: "0.5", "TARGET": target.url}
    server = run.uvicorn("sampled:app", env=receiver.env | env)
    flags = {}
    for _ in range(40):
        _, trace_id, _, flag = server.get("/call").json()["traceparent"].split("-")
        flags[trace_id] = flag
    assert server.stop() == -15
    for trace_id, flag in flags.items():
        kinds = sorted(span.kind for span in receiver.spans if span.trace_id == trace_id)
        assert kinds == (["CLIENT", "SERVER"] if flag == "01" else [])
    assert set(flags.values()) == {"00", "01"}


# Settings


@pytest.mark.parametrize(
    ("env", "name", "sampled"),
    [
        ({SAMPLER: "sometimes"}, SAMPLER, True),
        ({SAMPLER: "parentbased_"}, SAMPLER, True),
        ({SAMPLER: "xray"}, SAMPLER, True),
        *(
            ({SAMPLER: "parentbased_traceidratio", ARG: value}, ARG, True)
            for value in ("much", "1.5", "-0.1", "nan", "inf", "0x0", "0,1", "0.1 ", "1e999")
        ),
        ({SAMPLER: "parentbased_jaeger_remote", ARG: "initialSamplingRate=2"}, ARG, False),
        ({SAMPLER: "jaeger_remote", ARG: "pollingIntervalMs=0,initialSamplingRate=1"}, ARG, True),
        ({SAMPLER: "jaeger_remote", ARG: "pollingIntervalMs=5s,initialSamplingRate=1"}, ARG, True),
        ({SAMPLER: "jaeger_remote", ARG: "endpoint=h:x,initialSamplingRate=1"}, ARG, True),
        ({SAMPLER: "jaeger_remote", ARG: "initialSamplingRate=1,what=ever"}, ARG, True),
        ({SAMPLER: "jaeger_remote", ARG: "0.5,initialSamplingRate=1"}, ARG, True),
    ],
    ids=str,
)
def test_setting_that_cannot_be_used_gets_one_line(
    run: Runner, receiver: HttpReceiver, env: dict[str, str], name: str, sampled: bool
) -> None:
    process = run.run([run.python, "selfcall.py", "1"], env=receiver.env | env)
    assert (process.status, process.stdout) == (0, "served 1\n")
    lines = [line for line in process.agent_lines if "cannot read the sampling" not in line]
    assert len(lines) == 1 and f"faa warning: {name}" in lines[0], process.stderr
    assert len(receiver.spans) == 1 or not sampled


# Jaeger's remote sampling


@pytest.fixture
def manager() -> Iterator[Callable[..., SamplingManager]]:
    """Makes SamplingManagers: manager(answer)."""
    made = []

    def make(*args: Any, **options: Any) -> SamplingManager:
        made.append(SamplingManager(*args, **options))
        return made[-1]

    yield make
    for one_of_them in made:
        one_of_them.stop()


def remote(endpoint: str, initial: float, service: str = "shop", kind: str = "") -> dict[str, str]:
    """The variables of remote sampling that asks often."""
    return {
        SAMPLER: f"{kind}jaeger_remote",
        ARG: f"endpoint={endpoint},pollingIntervalMs=100,initialSamplingRate={initial}",
        "OTEL_SERVICE_NAME": service,
    }


def flag(server: Server, method: str = "GET") -> str:
    """Returns the trace flags that a new trace has."""
    return str(server.client.request(method, "/call").json()["traceparent"][-2:])


def until_flag(server: Server, value: str, method: str = "GET") -> None:
    """Waits until new traces have these flags, and no others for a while."""
    until(
        lambda: all(flag(server, method) == value for _ in range(5)),
        20,
        lambda: f"{method} has flags {flag(server, method)}: {server.describe()}",
    )


@pytest.mark.parametrize("kind", ["", "parentbased_"])
def test_two_services_get_what_jaeger_wants_of_each(
    run: Runner, receiver: HttpReceiver, target: Target, jaeger: Jaeger, kind: str
) -> None:
    jaeger.set_strategies(
        {
            "wanted": {"type": "probabilistic", "param": 1},
            "unwanted": {"type": "probabilistic", "param": 0},
        }
    )
    env = receiver.env | {"TARGET": target.url}
    servers = {
        service: run.uvicorn(
            "sampled:app", env=env | remote(jaeger.sampling_endpoint, initial, service, kind)
        )
        # At first the opposite: without a sampled span, the exporter must start all the same.
        for service, initial in (("wanted", 0), ("unwanted", 1))
    }
    until_flag(servers["wanted"], "01")
    until_flag(servers["unwanted"], "00")
    receiver.wait(lambda spans: any(span.service == "wanted" for span in spans))
    for server in servers.values():
        assert server.stop() == -15
        assert server.agent_lines == []


def test_strategy_that_changes_takes_effect_in_a_server_that_runs(
    run: Runner, receiver: HttpReceiver, target: Target, jaeger: Jaeger
) -> None:
    env = receiver.env | {"TARGET": target.url}
    jaeger.set_strategies({"changing": {"type": "probabilistic", "param": 0}})
    server = run.uvicorn("sampled:app", env=env | remote(jaeger.sampling_endpoint, 1, "changing"))
    until_flag(server, "00")
    jaeger.set_strategies({"changing": {"type": "probabilistic", "param": 1}})
    until_flag(server, "01")
    jaeger.set_strategies({"changing": {"type": "probabilistic", "param": 0}})
    until_flag(server, "00")
    assert server.agent_lines == []


def test_ratio_of_jaeger_divides_trace_ids_as_the_local_sampler_does(
    run: Runner, receiver: HttpReceiver, jaeger: Jaeger, target: Target
) -> None:
    jaeger.set_strategies({"quarter": {"type": "probabilistic", "param": 0.25}})
    env = receiver.env | {"TARGET": target.url}
    server = run.uvicorn("sampled:app", env=env | remote(jaeger.sampling_endpoint, 1, "quarter"))
    # All are sampled until the strategy is there.
    until(lambda: flag(server) == "00", 20, server.describe)
    sent = [f"{os.urandom(8).hex()}{low:016x}" for low in LOWS]
    for trace_id in sent:
        server.get("/plain", headers={"traceparent": f"00-{trace_id}-{'7' * 16}-00"})
    assert server.stop() == -15
    oracle = sampling.TraceIdRatioBased(0.25)
    got = {span.trace_id for span in receiver.spans if span.trace_id in sent}
    assert got == {trace_id for trace_id in sent if wanted(oracle, int(trace_id, 16), 0)}


def test_operation_of_a_request_is_its_method(
    run: Runner, receiver: HttpReceiver, target: Target, jaeger: Jaeger
) -> None:
    jaeger.set_strategies(
        {
            "operations": {
                "type": "probabilistic",
                "param": 1,
                "operation_strategies": [
                    {"operation": "GET", "type": "probabilistic", "param": 0},
                    {"operation": "POST /call", "type": "probabilistic", "param": 0},
                ],
            }
        }
    )
    env = receiver.env | {"TARGET": target.url}
    settings = remote(jaeger.sampling_endpoint, 1, "operations", "parentbased_")
    server = run.uvicorn("sampled:app", env=env | settings)
    until_flag(server, "00", "GET")
    until_flag(server, "01", "POST")
    # The child's operation does not count, the root has decided.
    receiver.wait(lambda spans: {span.kind for span in spans} == {"CLIENT", "SERVER"})


def test_rate_of_jaeger_limits_traces_per_second(
    run: Runner, receiver: HttpReceiver, target: Target, jaeger: Jaeger
) -> None:
    jaeger.set_strategies({"limited": {"type": "ratelimiting", "param": 2}})
    env = receiver.env | {"TARGET": target.url}
    settings = remote(jaeger.sampling_endpoint, 1, "limited", "parentbased_")
    server = run.uvicorn("sampled:app", env=env | settings)
    until(lambda: flag(server) == "00", 20, server.describe)
    begin = time.monotonic()
    flags = [flag(server) for _ in range(100)]
    seconds = time.monotonic() - begin
    # A burst of one second's, and then two a second.
    assert flags.count("01") <= 2 + 2 * seconds + 1
    until(lambda: flag(server) == "01", 20, server.describe)


def test_jaeger_is_asked_for_the_service_by_a_process_that_has_requests(
    run: Runner,
    receiver: HttpReceiver,
    target: Target,
    manager: Callable[..., SamplingManager],
) -> None:
    sampling_manager = manager(ratio(1))
    env = receiver.env | {"TARGET": target.url}
    settings = remote(sampling_manager.endpoint, 0, "Läden ☕")
    server = run.uvicorn("sampled:app", env=env | settings)
    server.get("/plain")
    until(lambda: len(sampling_manager.questions) >= 3, 20, server.describe)
    assert set(sampling_manager.questions) == {"Läden ☕"}
    until_flag(server, "01")
    assert server.agent_lines == []


def test_process_that_serves_nothing_or_sends_nothing_asks_nobody(
    run: Runner, receiver: HttpReceiver, manager: Callable[..., SamplingManager]
) -> None:
    sampling_manager = manager(ratio(1))
    env = receiver.env | remote(sampling_manager.endpoint, 1)
    # A thread has its name soon after it begins; one that is not wanted is given time to come.
    threads = """
def names():
    return [open(f"/proc/self/task/{task}/comm").read().strip()
            for task in os.listdir("/proc/self/task")]

end = time.monotonic() + float(sys.argv[1])
while "faa-export" not in names() and time.monotonic() < end:
    time.sleep(0.01)
print(names().count("faa-export"))
"""
    for name, work, exporter in (
        ("served", "selfcall.request(); ", "otlp"),
        ("idle", "", "otlp"),
        ("silent", "selfcall.request(); ", "none"),
    ):
        script = f"import os, sys, time, selfcall; {work}\n{threads}"
        settings = {"OTEL_TRACES_EXPORTER": exporter, "OTEL_SERVICE_NAME": name}
        count = 1 if name == "served" else 0
        patience = scaled(20) if count else 0.3
        process = run.run([run.python, "-c", script, str(patience)], env=env | settings)
        assert (process.status, process.stdout, process.stderr) == (0, f"{count}\n", ""), name
    assert set(sampling_manager.questions) <= {"served"}


def test_jaeger_that_is_away_gets_one_line_and_is_asked_again(
    run: Runner,
    receiver: HttpReceiver,
    target: Target,
    manager: Callable[..., SamplingManager],
) -> None:
    sampling_manager = manager(ratio(0), listen=False)
    env = receiver.env | {"TARGET": target.url}
    server = run.uvicorn("sampled:app", env=env | remote(sampling_manager.endpoint, 1))
    assert flag(server) == "01"
    server.wait_log("cannot read the sampling strategy from " + sampling_manager.endpoint)
    until_flag(server, "01")
    sampling_manager.listen()
    until_flag(server, "00")
    server.wait_log("the sampling strategy comes from .* again")
    assert len(server.agent_lines) == 2


BAD_ANSWERS = {
    "nothing": b"",
    "no protobuf": b"\xff\xfe",
    "no ratio": ratio(float("nan")),
    "too much": ratio(1.5),
    "too long": ratio(0) + b"\x1a\x00" * 300_000,
    "refusal": grpc.StatusCode.UNIMPLEMENTED,
    "failure": grpc.StatusCode.UNAVAILABLE,
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_answer_that_is_none_leaves_the_last_strategy(
    run: Runner,
    receiver: HttpReceiver,
    target: Target,
    manager: Callable[..., SamplingManager],
    name: str,
) -> None:
    sampling_manager = manager(ratio(1))
    env = receiver.env | {"TARGET": target.url}
    server = run.uvicorn("sampled:app", env=env | remote(sampling_manager.endpoint, 0))
    until_flag(server, "01")
    sampling_manager.answer = BAD_ANSWERS[name]
    server.wait_log("cannot read the sampling strategy.*the last one holds")
    asked = len(sampling_manager.questions)
    until(lambda: len(sampling_manager.questions) >= asked + 2, 20, server.describe)
    until_flag(server, "01")
    assert len(server.agent_lines) == 1
    sampling_manager.answer = ratio(0)
    until_flag(server, "00")


@pytest.mark.parametrize("manner", ["refuse", "silent", "close", "reset", "talk"])
def test_endpoint_of_any_bad_manner_harms_nobody(
    run: Runner, receiver: HttpReceiver, raw_server: Callable[..., RawServer], manner: str
) -> None:
    endpoint = raw_server(manner).endpoint
    server = run.uvicorn("sampled:app", env=receiver.env | remote(endpoint, 1))
    for _ in range(20):
        assert server.get("/plain").status_code == 200
    receiver.wait(20)  # Spans do not wait for good.
    server.wait_log("cannot read the sampling strategy")
    assert server.stop() == -15
    assert len(server.agent_lines) == 1


def test_endpoint_that_speaks_http_is_told(
    run: Runner, receiver: HttpReceiver, jaeger: Jaeger
) -> None:
    server = run.uvicorn("sampled:app", env=receiver.env | remote(jaeger.sampling_http, 1))
    server.get("/plain")
    line = server.wait_log("cannot read the sampling strategy.*").group()
    assert "gRPC" in line
    receiver.wait(1)


def test_end_of_the_process_does_not_wait_for_an_answer(
    run: Runner, receiver: HttpReceiver, manager: Callable[..., SamplingManager]
) -> None:
    sampling_manager = manager(None)
    env = receiver.env | remote(sampling_manager.endpoint, 1)
    env |= {"OTEL_BSP_SCHEDULE_DELAY": "60000", "FAA_FLUSH_TIMEOUT": "60000"}
    server = run.uvicorn("sampled:app", env=env)
    server.get("/plain")
    until(lambda: sampling_manager.questions, 20, server.describe)
    server.get("/plain")
    assert server.stop() == -15
    assert len(receiver.spans) == 2
    assert server.agent_lines == []


def test_forked_child_asks_for_itself(
    run: Runner, receiver: HttpReceiver, manager: Callable[..., SamplingManager]
) -> None:
    sampling_manager = manager(ratio(1))
    script = (
        "import os, time, selfcall; selfcall.request(); os.fork()\n"
        "while True: selfcall.request(); time.sleep(0.02)"
    )
    env = receiver.env | remote(sampling_manager.endpoint, 0)
    process = run.start([run.python, "-c", script], env=env)
    receiver.wait(lambda spans: len({span.resource["process.pid"] for span in spans}) == 2)
    process.kill()
    assert process.agent_lines == []


def test_strategy_outlives_a_fork(
    run: Runner, receiver: HttpReceiver, manager: Callable[..., SamplingManager]
) -> None:
    sampling_manager = manager(ratio(1))
    # The child has its parent's strategy at once: its first span is sampled, with nobody to ask.
    script = (
        "import os, sys, time, selfcall\n"
        "while not os.path.exists(sys.argv[1]): selfcall.request('/pid'); time.sleep(0.02)\n"
        "pid = os.fork(); selfcall.request('/raises' if not pid else '/pid')\n"
        "if pid: os.waitpid(pid, 0)"
    )
    sign = run.directory / "sign"
    env = receiver.env | remote(sampling_manager.endpoint, 0)
    process = run.start([run.python, "-c", script, str(sign)], env=env)
    receiver.wait(1)
    sampling_manager.answer = grpc.StatusCode.UNAVAILABLE
    sign.touch()
    assert process.wait() == 0
    assert one(receiver.spans, name="GET /raises").resource["process.pid"] != process.pid
