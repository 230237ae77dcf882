# SPDX-License-Identifier: MIT
"""Calls applications directly with scopes that no server makes, and prints what comes of each.

hostile_scopes.py named              every wrong type in every place
hostile_scopes.py truths             messages whose truth values are the application's own
hostile_scopes.py random SEED COUNT  scopes made by chance, the same ones for the same seed
hostile_scopes.py memory ROUNDS      the named cases over and over: bytes in use after each round

A line of output is one JSON list: the case, how it ended, and the messages that were sent.
"""

import asyncio
import collections
import gc
import json
import random
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from hostile_app import app, told, wrapped

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())
LONE = "\udcff\ud800"
calls: collections.Counter[str] = collections.Counter()


class LoudDict(dict):
    """A scope or message whose own methods are counted."""

    def __getitem__(self, key: Any) -> Any:
        calls["dict getitem"] += 1
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        calls["dict get"] += 1
        return super().get(key, default)

    def __contains__(self, key: Any) -> bool:
        calls["dict contains"] += 1
        return super().__contains__(key)

    def __missing__(self, key: Any) -> Any:
        calls["dict missing"] += 1
        raise KeyError(key)


class LoudList(list):
    def __len__(self) -> int:
        calls["list len"] += 1
        return super().__len__()

    def __getitem__(self, index: Any) -> Any:
        calls["list getitem"] += 1
        return super().__getitem__(index)

    def __iter__(self) -> Any:
        calls["list iter"] += 1
        return super().__iter__()


class LoudStr(str):
    def __str__(self) -> str:
        calls["str str"] += 1
        return str.__str__(self)

    def lower(self) -> str:
        calls["str lower"] += 1
        return super().lower()

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        calls["str eq"] += 1
        return str.__eq__(self, other)


class LoudBytes(bytes):
    def __bytes__(self) -> bytes:
        calls["bytes bytes"] += 1
        return bytes(self)

    def decode(self, *arguments: Any) -> str:
        calls["bytes decode"] += 1
        return super().decode(*arguments)


class LoudInt(int):
    def __index__(self) -> int:
        calls["int index"] += 1
        return int(self)

    def __bool__(self) -> bool:
        calls["int bool"] += 1
        return int(self) != 0


class Hostile:
    """Nothing can be done with it, and every attempt is counted."""

    def _refuse(self, *arguments: Any) -> Any:
        calls["hostile"] += 1
        raise ZeroDivisionError("hostile")

    __bool__ = __len__ = __iter__ = __getitem__ = __index__ = __int__ = __bytes__ = _refuse
    __eq__ = __call__ = __getattr__ = __contains__ = _refuse
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "Hostile()"


class Collides:
    """A key that has the hash of another, and does not like to be compared."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __hash__(self) -> int:
        return hash(self.word)

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("compared")

    def __repr__(self) -> str:
        return f"Collides({self.word!r})"


def base(at: str = "/seen", /, **changes: Any) -> dict[str, Any]:
    """A good scope, changed; a change to `...` leaves the key out."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": at,
        "raw_path": at.encode(),
        "query_string": b"a=1&sig=hush",
        "root_path": "",
        "headers": [(b"host", b"shop.example"), TRACEPARENT, (b"user-agent", b"test")],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 81),
    }
    scope.update(changes)
    return {key: value for key, value in scope.items() if value is not ...}


def once(*pairs: Any) -> Iterator[Any]:
    yield from pairs


# Values of every wrong kind. A function makes each anew, since some can be used only once.
ODD: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "zero": lambda: 0,
    "number": lambda: 7,
    "huge number": lambda: 1 << 4000,
    "negative": lambda: -(1 << 63),
    "float": lambda: float("nan"),
    "true": lambda: True,
    "str": lambda: "text",
    "empty str": lambda: "",
    "bytes": lambda: b"text",
    "empty bytes": lambda: b"",
    "bad bytes": lambda: b"\xff\xfe\x00\x80",
    "surrogates": lambda: LONE,
    "astral": lambda: "\U0010ffff\x00\u202e",
    "nuls": lambda: "\0" * 100,
    "long str": lambda: "ä" * 300_000,
    "long bytes": lambda: b"\x80" * 300_000,
    "bytearray": lambda: bytearray(b"text"),
    "memoryview": lambda: memoryview(b"text"),
    "empty list": list,
    "list": lambda: [1, 2],
    "tuple": lambda: ("a", 1),
    "triple": lambda: (b"a", b"b", b"c"),
    "nested": lambda: [[[[]]]],
    "dict": lambda: {b"host": b"a"},
    "set": lambda: {1},
    "generator": lambda: once((b"x-once", b"1"), TRACEPARENT),
    "iterator": lambda: iter([(b"x-once", b"1")]),
    "range": lambda: range(3),
    "object": object,
    "class": lambda: dict,
    "function": lambda: base,
    "hostile": Hostile,
    "loud str": lambda: LoudStr("GET"),
    "loud bytes": lambda: LoudBytes(b"text"),
    "loud int": lambda: LoudInt(200),
    "loud list": lambda: LoudList([(b"host", b"a"), TRACEPARENT]),
    "exception": lambda: ValueError("value"),
    "named tuple": lambda: collections.namedtuple("Pair", "a b")(b"a", b"b"),
}
KEYS = list(base())


def pair_lists() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Header lists that are lists, of pairs that are none, or of odd names and values."""
    for name, make in ODD.items():
        yield f"pair: {name}", lambda make=make: [(b"host", b"a"), make(), TRACEPARENT]
        yield f"name: {name}", lambda make=make: [(make(), b"value"), TRACEPARENT]
        for key in (b"host", b"user-agent", b"traceparent", b"tracestate", b"cookie"):
            odd = f"{key.decode()}: {name}"
            yield odd, lambda make=make, key=key: [(key, make()), (b"x", b"y")]
    yield "str names", lambda: [("host", "a"), ("traceparent", TRACEPARENT[1].decode())]
    yield "lists as pairs", lambda: [[b"host", b"a"], list(TRACEPARENT)]
    yield "itself", itself
    yield "thousands", lambda: [(b"x-%d" % n, b"v") for n in range(5000)] + [TRACEPARENT]
    yield "thousands of parents", lambda: [TRACEPARENT] * 5000
    yield "thousands of states", lambda: [TRACEPARENT, *[(b"tracestate", b"a=1")] * 5000]
    yield "giant cookie", lambda: [(b"cookie", b"a=" + b"c" * 2_000_000), TRACEPARENT]
    yield "giant name", lambda: [(b"n" * 2_000_000, b"v"), TRACEPARENT]
    yield "tuple of pairs", lambda: ((b"host", b"a"), TRACEPARENT)
    yield "every byte", lambda: [(bytes([n]) * 11, bytes([n])) for n in range(256)]


def itself() -> list[Any]:
    headers: list[Any] = [(b"host", b"a")]
    headers.append(headers)
    return headers


MESSAGES: dict[str, Callable[[], list[Any]]] = {
    "none": list,
    "body alone": lambda: [{"type": "http.response.body", "body": b"x"}],
    "start alone": lambda: [{"type": "http.response.start", "status": 200, "headers": []}],
    "no types": lambda: [{}, {"status": 200}],
    "unknown types": lambda: [{"type": "http.response.push"}, {"type": LONE}, {"type": 7}],
    "not dicts": lambda: [None, 7, "http.response.start", [], Hostile()],
    "twice": lambda: [{"type": "http.response.start", "status": 200}] * 2,
    "loud": lambda: [
        LoudDict(type=LoudStr("http.response.start"), status=LoudInt(200), headers=[]),
        LoudDict(type="http.response.body", body=LoudBytes(b"x"), more_body=1),
        LoudDict(type="http.response.body", body=b"x", more_body=0),
    ],
    "odd truths": lambda: [
        {"type": "http.response.start", "status": 200, "trailers": None},
        {"type": "http.response.body", "body": b"x", "more_body": "yes"},
        {"type": "http.response.body", "body": b"x", "more_body": []},
        {"type": "http.response.trailers", "more_trailers": 0.0},
    ],
    "proxies": lambda: [
        types.MappingProxyType({"type": "http.response.start", "status": 200}),
        collections.UserDict({"type": "http.response.body"}),
    ],
    "colliding keys": lambda: [
        {Collides("type"): 1, "status": 200},
        {Collides("more_body"): 1, "type": "http.response.body"},
    ],
}


def named() -> Iterator[tuple[str, Any, Callable[[], Any]]]:
    """All cases: name, application, and what makes the scope."""
    for key in KEYS:
        yield f"no {key}", app, lambda key=key: base(**{key: ...})
        for name, make in ODD.items():
            yield f"{key}: {name}", app, lambda key=key, make=make: base(**{key: make()})
    for name, make in pair_lists():
        yield f"headers, {name}", app, lambda make=make: base(headers=make())
        yield f"wrapped, {name}", wrapped, lambda make=make: base(headers=make())
    for kind in (LoudDict, collections.OrderedDict, collections.UserDict, types.MappingProxyType):
        yield f"scope is a {kind.__name__}", app, lambda kind=kind: kind(base())
    for name, make in ODD.items():
        yield f"scope is {name}", app, lambda make=make: make()
        yield f"message status: {name}", app, lambda make=make: base(
            "/raw/", messages=[{"type": "http.response.start", "status": make()}]
        )
    for key in KEYS:
        yield f"collides with {key}", app, lambda key=key: {Collides(key): 1, **base(**{key: ...})}
    for name, make in MESSAGES.items():
        yield f"messages: {name}", app, lambda make=make: base("/raw/", messages=make())
        yield f"wrapped messages: {name}", wrapped, lambda make=make: base("/raw/", messages=make())
    for server in ([], (), ("a",), ("a", "b"), ("a", -1), ("a", 1 << 70), (None, None), (LONE, 1)):
        yield f"server {server!r}", app, lambda server=server: base(headers=[], server=server)
        yield f"client {server!r}", app, lambda server=server: base(client=server)


def truths() -> Iterator[tuple[str, Any, Callable[[], Any]]]:
    """Messages whose truth values are objects of the application's."""
    for name, make in (("loud", lambda: LoudInt(1)), ("hostile", Hostile)):
        for key in ("trailers", "more_body", "more_trailers"):
            messages = [
                {"type": "http.response.start", "status": 200, key: make()},
                {"type": "http.response.body", "body": b"x", key: make()},
                {"type": "http.response.trailers", key: make()},
            ]
            yield f"{key}: {name}", app, lambda messages=messages: base("/raw/", messages=messages)


# By chance.


def by_chance(chance: random.Random) -> tuple[Any, dict[str, Any]]:
    """A scope with one to four changes, and the application that gets it."""
    application = chance.choice([app, wrapped])
    scope = base(chance.choice(["/seen", "/seen/a/b", "/raw/", "/items/1", "/nowhere"]))
    for _ in range(chance.randint(1, 4)):
        chance.choice(CHANGES)(chance, scope)
    return application, scope


def change_value(chance: random.Random, scope: dict[str, Any]) -> None:
    scope[chance.choice(KEYS)] = ODD[chance.choice(list(ODD))]()


def drop_key(chance: random.Random, scope: dict[str, Any]) -> None:
    scope.pop(chance.choice(KEYS), None)


def change_path(chance: random.Random, scope: dict[str, Any]) -> None:
    scope["path"] = str(scope.get("path")) + noise(chance).decode("latin-1")
    scope["raw_path"] = noise(chance)


def change_query(chance: random.Random, scope: dict[str, Any]) -> None:
    words = [b"sig", b"Signature", b"=", b"&", b"%", b"%zz", b"+", b";", b"\xff", b"?", b"#"]
    scope["query_string"] = b"".join(chance.choices(words, k=chance.randint(0, 3000)))


def change_parent(chance: random.Random, scope: dict[str, Any]) -> None:
    """A traceparent with a few bytes replaced, put in or taken out."""
    value = bytearray(TRACEPARENT[1])
    for _ in range(chance.randint(0, 4)):
        at = chance.randrange(len(value) + 1)
        value[at : at + chance.randint(0, 2)] = chance.choice([b"", b"-", b"g", b"0", b"\xff"])
    state = b",".join(b"k%d=%b" % (n, noise(chance)) for n in range(chance.randint(0, 40)))
    scope["headers"] = [(b"TraceParent", bytes(value)), (b"tracestate", state)]


def change_headers(chance: random.Random, scope: dict[str, Any]) -> None:
    names = [b"host", b"user-agent", b"cookie", b"traceparent", b"tracestate", b"forwarded"]

    def one() -> Any:
        if chance.random() < 0.2:
            return ODD[chance.choice(list(ODD))]()
        return chance.choice([*names, noise(chance)])

    pairs = [chance.choice([tuple, list])((one(), one())) for _ in range(chance.randint(0, 60))]
    scope["headers"] = pairs if chance.random() < 0.8 else tuple(pairs)


def change_messages(chance: random.Random, scope: dict[str, Any]) -> None:
    scope["messages"] = MESSAGES[chance.choice(list(MESSAGES))]()


def noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice([0, 1, 3, 20, 200]))


CHANGES = [
    change_value,
    drop_key,
    change_path,
    change_query,
    change_parent,
    change_headers,
    change_messages,
]


# Running.


async def outcome(application: Any, scope: Any) -> list[Any]:
    """How the call ends, what it sends, and how often it has used what counts its use."""
    calls.clear()
    sent: list[Any] = []
    asked = 0

    async def receive() -> Any:
        nonlocal asked
        asked += 1
        if asked > 1:
            await asyncio.sleep(0)
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(told(message))

    try:
        end = told(await application(scope, receive, send))
    except Exception as error:
        end = [type(error).__name__, told(str(error))]
    return [end, sent, dict(sorted(calls.items()))]


async def tell(name: str, application: Any, scope: Any) -> None:
    print(json.dumps([name, *await outcome(application, scope)]), flush=True)


async def main(manner: str, *numbers: str) -> None:
    if manner in ("named", "truths"):
        for name, application, make in named() if manner == "named" else truths():
            await tell(name, application, make())
    elif manner == "random":
        chance = random.Random(int(numbers[0]))
        for number in range(int(numbers[1])):
            await tell(f"{numbers[0]}/{number}", *by_chance(chance))
    elif manner == "memory":
        from measuring import bytes_in_use

        cases = list(named())
        for _ in range(int(numbers[0])):
            for _name, application, make in cases:
                await outcome(application, make())
            gc.collect()
            print(bytes_in_use(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
