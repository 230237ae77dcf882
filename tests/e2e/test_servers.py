# SPDX-License-Identifier: MIT
"""The server's edge: any ASGI application under uvicorn, gunicorn and hypercorn is one SERVER span,
never two."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.deadline import scaled
from harness.serving import Serve, Served, new_trace, serving
from harness.tree import assert_tree, one, where

MANNERS = ["h11", "httptools", "gunicorn", "hypercorn"]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Serve]:
    with serving(tmp_path_factory.mktemp("servers"), build) as start_once:
        yield start_once


@pytest.fixture(params=MANNERS)
def manner(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def server_of(manner: str) -> str:
    return "hypercorn" if manner == "hypercorn" else "uvicorn"


# Applications that no framework's edge sees.


def test_bare_function_is_one_span(serve: Serve, manner: str) -> None:
    served = serve("edges:function", manner)
    trace_id, headers = new_trace()
    response = served.server.get("/any/path?a=1", headers=headers)
    assert response.text == "bare"
    spans = served.trace(trace_id, 2)
    assert_tree(spans, ("GET", "SERVER", [("SELECT", "CLIENT")]))
    span = one(spans, kind="SERVER")
    assert span.scope_name == server_of(manner)
    assert "http.route" not in span.attributes
    assert span.attributes["url.path"] == "/any/path"
    assert span.attributes["url.query"] == "a=1"
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["http.response.body.size"] == 4
    assert span.attributes["server.port"] == served.server.port
    assert span.attributes["network.protocol.version"] == "1.1"


@pytest.mark.parametrize("app", ["instance", "Double"])
@pytest.mark.parametrize("manner", ["h11", "httptools"])
def test_every_kind_of_callable(serve: Serve, manner: str, app: str) -> None:
    """Also ASGI 2, which uvicorn tells by looking at it."""
    response, span = serve(f"edges:{app}", manner).get("/missing")
    assert (response.status_code, response.text) == (404, "bare")
    assert (span.name, span.scope_name, span.status) == ("GET", "uvicorn", "UNSET")


def test_another_framework(serve: Serve, manner: str) -> None:
    served = serve("edges:framework", manner)
    trace_id, headers = new_trace()
    assert served.server.get("/works", headers=headers).text == "worked"
    assert_tree(served.trace(trace_id, 2), ("GET", "SERVER", [("SELECT", "CLIENT")]))
    response, span = served.get("/fails")
    assert response.status_code == span.attributes["http.response.status_code"] == 500
    assert (span.status, span.attributes["error.type"], span.events) == ("ERROR", "500", [])
    _, span = served.get("/nowhere")
    assert (span.status, span.attributes["http.response.status_code"]) == ("UNSET", 404)


def test_bare_websocket_is_one_span(serve: Serve, manner: str) -> None:
    served = serve("edges:function", manner)
    trace_id, headers = new_trace()
    with served.websocket("/any", headers) as client:
        assert client.recv() == "bare"
    span = served.edge(trace_id)
    assert (span.name, span.scope_name) == ("GET", server_of(manner))
    assert span.attributes["http.response.status_code"] == 101
    assert span.attributes["faa.websocket.messages_sent"] == 1


# Frameworks: their edge and the server's are one.


@pytest.mark.parametrize(
    ("app", "scope", "children"),
    [("app", "fastapi", [("SELECT", "CLIENT")]), ("starlette", "starlette", [])],
)
def test_framework_under_a_server_is_one_span(
    serve: Serve, manner: str, app: str, scope: str, children: list[tuple[str, str]]
) -> None:
    served = serve(f"edges:{app}", manner)
    trace_id, headers = new_trace()
    served.server.get("/items/1", headers=headers)
    spans = served.trace(trace_id, 1 + len(children))
    assert_tree(spans, ("GET /items/{item}", "SERVER", children))
    assert one(spans, kind="SERVER").scope_name == scope


@pytest.mark.parametrize(
    ("path", "name", "scope"),
    [
        ("/one/items/1", "GET /one/items/{item}", "starlette"),
        ("/two/items/1", "GET /two/items/{item}", "starlette"),
        ("/bare/any", "GET /bare", "starlette"),
    ],
)
def test_several_applications_in_one_are_one_span(
    serve: Serve, path: str, name: str, scope: str
) -> None:
    response, span = serve("edges:several").get(path)
    assert response.status_code == 200
    assert (span.name, span.scope_name) == (name, scope)


def test_span_covers_what_is_around_the_application(serve: Serve, manner: str) -> None:
    served = serve("edges:around", manner)
    response, span = served.get("/items/1")
    assert response.status_code == 200
    assert (span.name, span.scope_name) == ("GET /items/{item}", "fastapi")
    assert span.end_ns - span.start_ns >= 140_000_000


def test_what_is_around_the_application_answers_itself(serve: Serve, manner: str) -> None:
    response, span = serve("edges:around", manner).get("/itself")
    assert (response.status_code, response.text) == (202, "itself")
    assert (span.name, span.scope_name) == ("GET", server_of(manner))
    assert span.attributes["http.response.status_code"] == 202
    assert span.end_ns - span.start_ns >= 140_000_000


def test_what_is_around_the_application_fails(serve: Serve, manner: str) -> None:
    response, span = serve("edges:around", manner).get("/fails")
    assert response.status_code == span.attributes["http.response.status_code"] == 500
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "ValueError")
    assert [event.name for event in span.events] == ["exception"]


def test_switched_off_server_leaves_the_frameworks_edge(serve: Serve) -> None:
    env = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "uvicorn,hypercorn"}
    for manner in ("h11", "hypercorn"):
        served = serve("edges:around", manner, env=env)
        _, span = served.get("/items/1")
        assert (span.name, span.scope_name) == ("GET /items/{item}", "fastapi")
        assert span.end_ns - span.start_ns < 140_000_000
        # What the framework does not see is no span.
        trace_id, headers = new_trace()
        assert served.server.get("/itself", headers=headers).status_code == 202
        served.get("/items/1")
        assert where(served.receiver.spans, trace_id=trace_id) == []


def test_switched_off_framework_leaves_the_servers_edge(serve: Serve) -> None:
    env = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "fastapi,starlette"}
    for manner in ("h11", "hypercorn"):
        _, span = serve("edges:app", manner, env=env).get("/items/1")
        assert (span.name, span.scope_name) == ("GET", server_of(manner))


# HTTP/2.


def test_http2_with_prior_knowledge(serve: Serve) -> None:
    served = serve("edges:app", "hypercorn")
    trace_ids = []
    with httpx.Client(
        http1=False, http2=True, base_url=served.server.url, trust_env=False, timeout=scaled(20)
    ) as client:
        for number in range(5):  # Streams of one connection.
            trace_id, headers = new_trace()
            response = client.get(f"/items/{number}", headers=headers)
            assert (response.http_version, response.status_code) == ("HTTP/2", 200)
            trace_ids.append(trace_id)
    for number, trace_id in enumerate(trace_ids):
        span = served.edge(trace_id)
        assert span.name == "GET /items/{item}"
        assert span.attributes["url.path"] == f"/items/{number}"
        assert span.attributes["network.protocol.version"] == "2"
        assert span.attributes["server.address"] == "127.0.0.1"
        assert span.attributes["server.port"] == served.server.port


def test_http2_by_upgrade(serve: Serve) -> None:
    served = serve("edges:function", "hypercorn")
    trace_id, headers = new_trace()
    command = ["curl", "-s", "--noproxy", "*", "--http2", "-m", "20", "-w", "|%{http_version}"]
    header = f"traceparent: {headers['traceparent']}"
    answer = subprocess.run(
        [*command, "-H", header, f"{served.server.url}/x"], check=True, capture_output=True
    )
    body, _, version = answer.stdout.partition(b"|")
    span = served.edge(trace_id)
    assert body == b"bare"
    assert span.attributes["network.protocol.version"] == version.decode()


# Behind a proxy.


def peer(served: Served, **headers: str) -> dict[str, object]:
    """Returns what the span tells of addresses when these headers are sent."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    _, span = served.get("/items/1", headers=names)
    keys = ("network.peer.address", "client.address", "server.address", "server.port", "url.scheme")
    return {key: span.attributes.get(key) for key in keys}


@pytest.fixture(params=["h11", "hypercorn"])
def proxied(request: pytest.FixtureRequest, serve: Serve) -> Served:
    """A server behind a proxy that it trusts; uvicorn changes the scope, hypercorn does not."""
    return serve("edges:app", request.param)


def test_peer_is_the_proxy_and_client_the_forwarded_one(proxied: Served) -> None:
    assert peer(
        proxied, X_Forwarded_For="203.0.113.7", X_Forwarded_Proto="https", Host="shop.example"
    ) == {
        "network.peer.address": "127.0.0.1",
        "client.address": "203.0.113.7",
        "server.address": "shop.example",
        "server.port": 443,
        "url.scheme": "https",
    }


@pytest.mark.parametrize(
    ("header", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 198.51.100.1, 127.0.0.1", "203.0.113.7"),
        ("203.0.113.7 ,\t198.51.100.1", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("unknown", "127.0.0.1"),
        ("UNKNOWN:80", "127.0.0.1"),
        ("_hidden", "127.0.0.1"),
        (", 203.0.113.7", "127.0.0.1"),
        ("[2001:db8::7", "127.0.0.1"),
    ],
)
def test_forms_of_x_forwarded_for(serve: Serve, header: str, client: str) -> None:
    told = peer(serve("edges:app"), X_Forwarded_For=header)
    assert (told["client.address"], told["network.peer.address"]) == (client, "127.0.0.1")


@pytest.mark.parametrize(
    ("header", "client", "host", "port", "scheme"),
    [
        ("for=203.0.113.7", "203.0.113.7", "a", 80, "http"),
        ("For=203.0.113.7;Proto=https;Host=shop.example", "203.0.113.7", "shop.example", 443,
         "https"),
        ('for="203.0.113.7:4711";host="shop.example:8443"', "203.0.113.7", "shop.example", 8443,
         "http"),
        ('for="[2001:db8::7]:4711", for=198.51.100.1;host=other', "2001:db8::7", "a", 80, "http"),
        ("host=shop.example ; proto=HTTPS ; for=203.0.113.7", "203.0.113.7", "shop.example", 443,
         "HTTPS"),
        ('by=_x;for="_gazonk"', "127.0.0.1", "a", 80, "http"),
        ("for=unknown", "127.0.0.1", "a", 80, "http"),
        ("proto=gopher", "127.0.0.1", "a", 80, "http"),
        ('for="203.0.113.7', "127.0.0.1", "a", 80, "http"),
        ('for="', "127.0.0.1", "a", 80, "http"),
        (";;=;,", "127.0.0.1", "a", 80, "http"),
    ],
)  # fmt: skip
def test_forms_of_forwarded(
    serve: Serve, header: str, client: str, host: str, port: int, scheme: str
) -> None:
    assert peer(serve("edges:app"), Forwarded=header, Host="a") == {
        "network.peer.address": "127.0.0.1",
        "client.address": client,
        "server.address": host,
        "server.port": port,
        "url.scheme": scheme,
    }


@pytest.mark.parametrize(
    ("header", "host", "port"),
    [
        ("shop.example", "shop.example", 80),
        ("shop.example:8443, proxy.example", "shop.example", 8443),
        ("[2001:db8::1]:81", "2001:db8::1", 81),
    ],
)
def test_forms_of_x_forwarded_host(serve: Serve, header: str, host: str, port: int) -> None:
    told = peer(serve("edges:app"), X_Forwarded_Host=header, Host="a")
    assert (told["server.address"], told["server.port"]) == (host, port)


def test_forwarded_is_preferred_to_its_forerunners(serve: Serve) -> None:
    told = peer(
        serve("edges:app"),
        Forwarded="for=203.0.113.7;proto=https;host=shop.example",
        X_Forwarded_For="198.51.100.1",
        X_Forwarded_Proto="http",
        X_Forwarded_Host="other.example",
    )
    assert told["client.address"] == "203.0.113.7"
    assert told["server.address"] == "shop.example"
    assert told["url.scheme"] == "https"


# WSGI under uvicorn.


def test_wsgi_application_is_one_span(serve: Serve) -> None:
    served = serve("edges:wsgi", "h11", "--interface", "wsgi")
    trace_id, headers = new_trace()
    response = served.server.get("/things?a=1", headers=headers)
    assert (response.status_code, response.text) == (201, "wsgi")
    span = served.edge(trace_id)
    assert (span.name, span.scope_name, span.status) == ("GET", "uvicorn", "UNSET")
    assert span.attributes["http.response.status_code"] == 201
    assert span.attributes["url.path"] == "/things"


def test_wsgi_application_that_fails(serve: Serve) -> None:
    served = serve("edges:wsgi", "h11", "--interface", "wsgi")
    response, span = served.get("/fails")
    assert response.status_code == span.attributes["http.response.status_code"] == 500
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "ValueError")
