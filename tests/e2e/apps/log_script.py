# SPDX-License-Identifier: MIT
"""One thing that an application does with its log records: log_script.py CASE, in a request."""

import copy
import io
import logging
import logging.handlers
import pickle
import queue
import sys
from collections.abc import Callable
from typing import Any

import by_hand

FORMAT = "%(message)s %(otelTraceID)s %(otelSpanID)s %(otelTraceSampled)s %(otelServiceName)s"
NAMES = ("otelTraceID", "otelSpanID", "otelTraceSampled", "otelServiceName")
log = logging.getLogger("shop")


def to_stdout(handler: Any = None, logger: logging.Logger = log) -> logging.Handler:
    handler = handler or logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(FORMAT))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return handler  # type: ignore[no-any-return]


def plain() -> None:
    to_stdout()
    log.info("plain")


def child_logger() -> None:
    to_stdout()
    logging.getLogger("shop.till").warning("%s", "child_logger")


def adapter() -> None:
    to_stdout()
    logging.LoggerAdapter(log, {"customer": 7}).info("adapter")


def wrap_factory(**more: str) -> None:
    inner = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = inner(*args, **kwargs)
        record.mine = 1
        vars(record).update(more)
        return record

    logging.setLogRecordFactory(factory)


def check_own(handler: logging.Handler) -> None:
    handler.addFilter(lambda record: record.mine == 1)  # type: ignore[attr-defined]


def factory_before() -> None:
    wrap_factory()
    check_own(to_stdout())
    log.info("factory_before")


def factory_after() -> None:
    check_own(to_stdout())
    logging.getLogger("other").info("nobody hears it")
    wrap_factory()
    log.info("factory_after")


def lambda_factory() -> None:
    to_stdout()
    logging.setLogRecordFactory(lambda *args, **kwargs: logging.LogRecord(*args, **kwargs))
    log.info("lambda_factory")


def factory_with_attributes() -> None:
    wrap_factory(otelSpanID="mine")
    to_stdout()
    log.info("factory_with_attributes")


def slots_record() -> None:
    class Closed(logging.LogRecord):
        def __setattr__(self, name: str, value: object) -> None:
            assert not name.startswith("otel")
            super().__setattr__(name, value)

    logging.setLogRecordFactory(Closed)
    to_stdout()
    log.info("slots_record")


def make_record() -> None:
    class Own(logging.Logger):
        def makeRecord(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
            record = super().makeRecord(*args, **kwargs)
            record.msg = "make_record"
            return record

    own = Own("own", logging.INFO)
    to_stdout(logger=own)
    own.info("something else")


def made_record() -> None:
    to_stdout()
    log.handle(logging.makeLogRecord({"msg": "made_record", "levelno": logging.INFO}))


def handler_alone() -> None:
    """No logger sees the record."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.handle(logging.LogRecord("x", logging.INFO, "x.py", 1, "handler_alone", (), None))


def logger_filter() -> None:
    to_stdout()
    log.addFilter(lambda record: record.otelTraceID != "0")  # type: ignore[attr-defined]
    log.info("logger_filter")


def handler_filter() -> None:
    handler = to_stdout()
    handler.addFilter(lambda record: len(record.otelSpanID) == 16)  # type: ignore[attr-defined]
    log.info("handler_filter")


def listened(logged: Callable[[], None]) -> None:
    """Logs through a queue, whose other end has no span."""
    records: Any = queue.SimpleQueue()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(FORMAT))
    listener = logging.handlers.QueueListener(records, handler)
    log.addHandler(logging.handlers.QueueHandler(records))
    log.setLevel(logging.INFO)
    outside.append(listener)
    logged()


outside: list[logging.handlers.QueueListener] = []


def through_a_queue() -> None:
    listened(lambda: log.info("through_a_queue"))


def memory() -> None:
    target = logging.StreamHandler(sys.stdout)
    target.setFormatter(logging.Formatter(FORMAT))
    handler = logging.handlers.MemoryHandler(10, target=target)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.info("memory")
    kept.append(handler)


kept: list[logging.handlers.MemoryHandler] = []


def subclass() -> None:
    class Own(logging.Logger):
        def handle(self, record: logging.LogRecord) -> None:
            record.own = 1
            super().handle(record)

    own = Own("own", logging.INFO)
    to_stdout(logger=own)
    own.info("subclass")


def styled(style: Any, text: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(text, style=style))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def template() -> None:
    styled("{", "{message} " + " ".join(f"{{{name}}}" for name in NAMES))
    log.info("template")


def dollar_template() -> None:
    styled("$", "$message " + " ".join(f"${name}" for name in NAMES))
    log.info("dollar_template")


def extra_of_others() -> None:
    handler = to_stdout()
    handler.addFilter(lambda record: record.order == 7)  # type: ignore[attr-defined]
    log.info("extra_of_others", extra={"order": 7})


def pickled() -> None:
    """As SocketHandler sends it."""
    handler = logging.handlers.SocketHandler("127.0.0.1", 9)
    sent: list[bytes] = []
    handler.send = lambda data: sent.append(data)  # type: ignore[method-assign,assignment]
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.info("pickled")
    record = logging.makeLogRecord(pickle.loads(sent[0][4:]))
    print(logging.Formatter(FORMAT).format(copy.copy(record)))


def caller() -> None:
    """Where the call is, nothing stands between."""
    handler = logging.StreamHandler(stream := io.StringIO())
    handler.setFormatter(logging.Formatter(f"%(funcName)s {FORMAT}"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.info("caller", stack_info=True)
    first, *stack = stream.getvalue().splitlines()
    assert first.startswith("caller caller ") and stack[-1].strip().startswith("log.info("), stack
    print(first.partition(" ")[2])


def extra() -> None:
    to_stdout()
    log.info("extra", extra={"otelTraceID": "mine"})


def extra_service() -> None:
    to_stdout()
    log.info("extra_service", extra={"otelServiceName": "mine"})


def received() -> None:
    to_stdout()
    theirs: dict[str, Any] = dict.fromkeys(NAMES, "theirs") | {"otelTraceSampled": False}
    log.handle(logging.makeLogRecord({"msg": "received", "levelno": logging.INFO, **theirs}))


def overwrite() -> None:
    """What logging itself forbids."""
    to_stdout()
    try:
        log.info("overwrite", extra={"message": "mine"})
    except KeyError:
        print("overwrite KeyError")


def no_record() -> None:
    """A handler takes whatever it is given."""

    class Taking(logging.Handler):
        def emit(self, record: Any) -> None:
            seen.append(record)

    seen: list[Any] = []
    things = ["text", 7, None, {}, [], type("Slots", (), {"__slots__": ()})()]
    for thing in things:
        Taking().handle(thing)
    assert all(one is other for one, other in zip(seen, things)) and things[3] == {}
    print("no_record untouched")


def disabled() -> None:
    log.setLevel(logging.ERROR)
    to_stdout().setLevel(logging.CRITICAL)
    log.info("disabled")
    print("disabled nothing")


def untouched() -> None:
    kinds = [logging.Logger.handle, logging.Handler.handle, logging.Logger.makeRecord]
    print(*(type(kind).__name__ for kind in kinds))
    print(sorted(vars(logging.makeLogRecord({}))), logging.getLogRecordFactory().__name__)
    handler = logging.StreamHandler(sys.stdout)

    def show(record: logging.LogRecord) -> bool:
        print(sorted(vars(record)))
        return True

    handler.addFilter(show)
    log.addHandler(handler)
    log.warning("untouched")


if __name__ == "__main__":
    name = sys.argv[1]
    by_hand.request("/", globals()[name], "ab" * 16)
    for listener in outside:
        listener.start()
        listener.stop()
    for handler in kept:
        handler.flush()
