# SPDX-License-Identifier: MIT
"""Hostile input, over real connections and as scopes: it never costs the application a request, and
what is sent of it is valid.

FAA_TEST_SEEDS=1000-1100 lets scopes by chance run with more seeds; one that finds something belongs
into golden/scope-seeds.txt.
"""

import itertools
import json
import os
import random
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import scaled
from harness.process import Process, Runner, Server
from harness.receiver import HttpReceiver
from harness.served import new_context
from harness.tree import one, where

Compare = Callable[..., Any]
SEED = {"PYTHONHASHSEED": "0"}
HTTP = ["h11", "httptools"]
# h11 refuses by default what is longer than 64 KiB.
ROOM = ("--h11-max-incomplete-event-size", "4194304")
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01".encode()

# Over real connections.


def malformed_parents() -> list[bytes]:
    """Traceparents with every single fault of shape: each byte replaced, left out and doubled, and
    what no such change makes."""
    chance = random.Random(4)
    wrong = [GOOD[:at] + bytes([byte]) + GOOD[at + 1 :] for at in range(55) for byte in b"gA \x80"]
    wrong += [GOOD[:at] + GOOD[at + 1 :] for at in range(55)]
    wrong += [GOOD[:at] + GOOD[at : at + 1] + GOOD[at:] for at in range(55)]
    wrong += [GOOD[:at] for at in range(55)]
    wrong += [b"ff" + GOOD[2:], b"00-" + b"0" * 32 + GOOD[35:], GOOD[:36] + b"0" * 16 + GOOD[52:]]
    wrong += [GOOD + b"-", GOOD + b"-x", GOOD + b"\x01", GOOD + b"," + GOOD, b"-" * 55, b"0" * 55]
    wrong += [GOOD * 1000, b"00-" + b"a" * 60_000, b"\xed\xa0\x80" * 18 + b"-"]
    wrong += [bytes(chance.choices(b"0123456789abcdef-", k=55)) for _ in range(50)]
    return wrong


def requests() -> dict[str, bytes]:
    """Whole requests, without the end of the head."""
    first = b"GET /seen HTTP/1.1\r\nHost: a\r\n"

    def target(value: bytes) -> bytes:
        return b"GET " + value + b" HTTP/1.1\r\nHost: a\r\n"

    kinds = {
        "thousands of headers": first + b"".join(b"X-%d: v\r\n" % n for n in range(5000)),
        "thousands of traceparents": first + b"traceparent: %b\r\n" % GOOD * 3000,
        "thousands of tracestates": first
        + b"traceparent: %b\r\n" % GOOD
        + b"".join(b"tracestate: k%d=v\r\n" % n for n in range(3000)),
        "thousands of hosts": first + b"Host: a\r\n" * 3000,
        "megabyte of query": target(b"/seen?" + b"a=1&" * 250_000),
        "megabyte of secrets": target(b"/seen?" + b"sig=hush&" * 110_000),
        "megabyte without an end": target(b"/seen?sig=" + b"x" * 1_000_000),
        "megabyte of path": target(b"/seen/" + b"p" * 1_000_000),
        "giant cookie": first + b"Cookie: " + b"c" * 2_000_000 + b"\r\n",
        "giant user agent": first + b"User-Agent: " + b"\xf0\x9f\x92\xa9" * 400_000 + b"\r\n",
        "giant name": first + b"n" * 300_000 + b": v\r\n",
        "giant host": b"GET /seen HTTP/1.1\r\nHost: " + b"[" * 200_000 + b"\r\n",
        "giant state": first
        + b"traceparent: %b\r\ntracestate: k=%b\r\n" % (GOOD, b"v" * 900_000),
        "bad UTF-8 in headers": first + b"User-Agent: \xff\xfe\xed\xa0\x80\xf5\r\nX: \x80\r\n",
        "bad UTF-8 in the host": b"GET /seen HTTP/1.1\r\nHost: \xff\xfe:80\r\n",
        "bad UTF-8 in the state": first + b"traceparent: %b\r\ntracestate: \xff=\xfe\r\n" % GOOD,
        "long tabs": first + b"traceparent:" + b"\t" * 5000 + GOOD + b" " * 5000 + b"\r\n",
        "folded": first + b"traceparent: 00-\r\n " + GOOD[3:] + b"\r\n",
        "no colon": first + b"traceparent\r\n",
        "no name": first + b": value\r\n",
        "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n",
        "authority": b"CONNECT shop.example:443 HTTP/1.1\r\nHost: a\r\n",
    }
    for path in (
        *(b"/seen/" + part for part in (b"\xff\xfe", b"%ff%fe", b"%ed%a0%80", b"%00", b"%2e%2e/")),
        *(b"/seen/" + part for part in (b"%2F%2f", b"%zz", b"%", b"%%%", b"a#b", b"..;/", b"\x7f")),
        *(b"//seen", b"/./seen", b"/../seen", b"/seen/../items/1", b"/seen//", b"/seen;a=1"),
        *(b"?", b"??", b"/?", b"/seen?", b"/seen??", b"/seen?#", b"/seen#?sig=hush"),
        *(b"http://user:hush@shop.example/seen?sig=hush", b"http://user:hush@shop.example"),
        *(b"http://hush@[::1]:80/seen", b"HTTP://user:hush@shop.example:99999/seen?a#b"),
        *(b"http://user:hush@a/http://user:word@b/", b"https:///user:word@/", b"http://"),
        *(b"ftp://user:hush@shop.example/seen", b"://user:hush@a/", b"//user:word@shop.example/"),
        b"/seen?next=http://user:word@shop.example/",
    ):
        kinds[f"target {path!r}"] = target(path)
    for byte in range(256):
        name = bytes([byte])
        kinds[f"byte {byte} in a name"] = first + b"x" + name + b"y: v\r\nX" + name + b": w\r\n"
        kinds[f"byte {byte} in a value"] = first + b"User-Agent: a" + name + b"b\r\n"
    for number, value in enumerate(malformed_parents()):
        kinds[f"parent {number}"] = first + b"traceparent: " + value + b"\r\n"
    return kinds


def answers(server: Server, kinds: dict[str, bytes]) -> dict[str, Any]:
    """What the server answers to each, but for the date, and whether it still serves afterwards."""
    return {
        **{name: answer(server, request) for name, request in kinds.items()},
        "afterwards": server.get("/items/1").json(),
    }


def answer(server: Server, request: bytes) -> bytes:
    """All that comes back. Of a refusal in the middle of a request only the first line is sure to
    arrive, and not even that where the server resets the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=scaled(20)) as connection:
        got = b""
        try:
            connection.sendall(request + b"Connection: close\r\n\r\n")
            got = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:
            return b"reset"
    if b" 400 " in got[:20]:
        return got.partition(b"\r\n")[0]
    return re.sub(rb"(?im)^date: .*\r\n", b"", got)


@pytest.mark.parametrize("http", HTTP)
@pytest.mark.timeout(scaled(240))
def test_requests_are_answered_as_without_the_agent(
    same_with_and_without: Compare, receiver: HttpReceiver, http: str
) -> None:
    kinds = requests()
    options = ("--loop", "asyncio", "--http", http, "--no-access-log", *ROOM)
    found = same_with_and_without(
        "hostile_app:app",
        lambda server: answers(server, kinds),
        *options,
        env={**receiver.env, **SEED},
    )
    reached = [name for name, got in found.items() if b" 200 " in bytes(str(got)[:30], "utf-8")]
    assert len(reached) > 500
    spans = where(receiver.spans, kind="SERVER")
    assert len(spans) >= len(reached)
    for span in spans:
        assert len(str(span.attributes)) < 32_768
        assert "hush" not in str(span.attributes), span
        # None of the malformed headers is followed.
        assert span.parent_id in ("", PARENT)


@pytest.mark.parametrize("http", HTTP)
def test_malformed_parent_is_never_followed(
    run: Runner, receiver: HttpReceiver, http: str
) -> None:
    """Whatever reaches the application of it, the request is a root, or the header was no worse
    than its own trimmed form."""
    options = ("--http", http, "--no-access-log", *ROOM)
    server = run.uvicorn("hostile_app:app", *options, env=receiver.env)
    values = malformed_parents()
    reached = {}
    for number, value in enumerate(values):
        head = b"GET /seen/%d HTTP/1.1\r\nHost: a\r\ntraceparent: %b\r\n" % (number, value)
        if b" 200 " in answer(server, head)[:20]:
            reached[f"/seen/{number}"] = value
    context = new_context()
    server.get("/seen/good", headers=context.headers)
    assert server.stop() == -signal.SIGTERM
    assert one(receiver.spans, trace_id=context.trace_id).parent_id == context.parent_id
    spans = {span.attributes["url.path"]: span for span in receiver.spans}
    assert reached.keys() <= spans.keys()
    followed = [value.strip() for path, value in reached.items() if spans[path].parent_id]
    # Other hexadecimal digits, and later versions, are as good.
    good = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
    assert [value for value in followed if not good.fullmatch(value)] == []
    assert len(reached) > 100


# As scopes.


def with_and_without(run: Runner, receiver: HttpReceiver, *words: str) -> list[Any]:
    """Runs the scopes of apps/hostile_scopes.py with the agent and without; returns the lines."""
    outcomes = []
    for agent in ("none", "preload"):
        env = {**receiver.env, **SEED, "OTEL_BSP_MAX_QUEUE_SIZE": "16384"}
        command = [run.python, "hostile_scopes.py", *words]
        process: Process = run.run(command, agent=agent, env=env, timeout=60)
        assert (process.status, process.stderr) == (0, "")
        outcomes.append([json.loads(line) for line in process.stdout.splitlines()])
    without, traced = outcomes
    different = [pair for pair in zip(without, traced, strict=True) if pair[0] != pair[1]]
    assert different == []
    return without


def test_scopes_of_every_wrong_type(run: Runner, receiver: HttpReceiver) -> None:
    cases = with_and_without(run, receiver, "named")
    answered = [case for case in cases if case[1] == "None" and case[2]]
    assert len(cases) > 1000
    assert len(answered) > 500
    assert len(where(receiver.spans, kind="SERVER")) >= len(answered)
    assert all(len(str(span.attributes)) < 32_768 for span in receiver.spans)


def test_truth_of_a_message_is_not_asked(run: Runner, receiver: HttpReceiver) -> None:
    """It would run code of the application once more."""
    with_and_without(run, receiver, "truths")


def seeds() -> list[str]:
    """Those that have found something, a few others, and what the environment asks for."""
    golden = (Path(__file__).parent / "golden" / "scope-seeds.txt").read_text()
    found = [line.split()[0] for line in golden.splitlines() if not line.startswith("#")]
    first, _, last = (os.environ.get("FAA_TEST_SEEDS") or "").partition("-")
    asked = map(str, range(int(first), int(last or first) + 1)) if first else ()
    return list(dict.fromkeys([*found, "20", "21", *asked]))


@pytest.mark.parametrize("seed", seeds())
def test_scopes_by_chance(run: Runner, receiver: HttpReceiver, seed: str) -> None:
    cases = with_and_without(run, receiver, "random", seed, "1000")
    assert len(cases) == 1000
    assert len(where(receiver.spans, kind="SERVER")) > 200


def test_memory_does_not_grow_with_hostile_scopes(run: Runner, receiver: HttpReceiver) -> None:
    """A leak grows in every round, by one small allocation for each scope or more; caches now and
    then."""
    scopes = run.run([run.python, "hostile_scopes.py", "named"], agent="none", env=SEED, timeout=60)
    cases = len(scopes.stdout.splitlines())
    env = {**receiver.env, "PYTHONMALLOC": "malloc", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64"}
    process = run.run([run.python, "hostile_scopes.py", "memory", "5"], env=env, timeout=90)
    assert (process.status, process.stderr) == (0, "")
    used = [int(line) for line in process.stdout.splitlines()]
    growth = [after - before for before, after in itertools.pairwise(used)]
    assert len(growth) == 4
    assert min(growth) < cases * 16, growth
