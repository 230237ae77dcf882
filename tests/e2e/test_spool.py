# SPDX-License-Identifier: MIT
"""Files for as long as the collector is away: FAA_SPOOL_DIR."""

import os
import re
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from harness.counts import Counts, counts
from harness.deadline import until
from harness.jaeger import Jaeger
from harness.process import Process, Runner
from harness.receiver import Answer, HttpReceiver
from harness.trouble import told


def spooling(receiver: HttpReceiver, folder: Path, **more: str) -> dict[str, str]:
    """The environment of a process that keeps its batches in this folder."""
    return receiver.env | {"FAA_SPOOL_DIR": str(folder), "FAA_LOG_LEVEL": "debug"} | more


def serve(run: Runner, env: dict[str, str], count: int) -> Process:
    process = run.run([run.python, "selfcall.py", str(count), "/items/7"], env=env)
    assert process.status == 0, process.describe()
    return process


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def counts_of(receiver: HttpReceiver) -> Counter[str]:
    """How often each span came."""
    return Counter(span.span_id for span in receiver.spans)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def test_what_cannot_be_sent_at_the_end_is_sent_by_the_next_process(
    run: Runner, receiver: HttpReceiver, folder: Path
) -> None:
    receiver.refuse()
    first = serve(run, spooling(receiver, folder), 700)
    # The first attempt may be the last one, when the process ends at once.
    assert re.search("they are kept(, in files when memory is short| in files)$", first.stderr, re.M)
    assert "700 spans ended, 0 exported, 0 dropped" in first.stderr
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in files(folder)} == {0o600}
    receiver.accept()
    server = run.uvicorn("selfcall:app", env=spooling(receiver, folder))
    assert server.get("/items/1").status_code == 200
    receiver.wait(701)
    until(lambda: not files(folder), 10, lambda: str(files(folder)))
    assert server.stop() == -15
    assert set(counts_of(receiver).values()) == {1}


def test_without_a_folder_nothing_is_kept(run: Runner, receiver: HttpReceiver) -> None:
    receiver.refuse()
    process = serve(run, receiver.env | {"FAA_LOG_LEVEL": "debug"}, 3)
    assert "3 spans ended, 0 exported, 3 dropped" in process.stderr


def test_memory_that_runs_short_goes_into_files(
    run: Runner, receiver: HttpReceiver, folder: Path
) -> None:
    """Many times what the buffer holds, and in the order of time."""
    receiver.refuse()
    server = run.uvicorn("selfcall:app", env=spooling(receiver, folder))
    count = 12000
    serving = run.start([run.python, "selfcall.py", str(count)], env=spooling(receiver, folder))
    serving.wait(60)
    assert f"{count} spans ended, 0 exported, 0 dropped" in serving.stderr
    assert len(files(folder)) > 10
    receiver.accept()
    server.get("/items/1")
    receiver.wait(count + 1, timeout=60)
    server.stop()
    assert set(counts_of(receiver).values()) == {1}


def test_processes_that_share_a_folder_send_each_batch_once(
    run: Runner, receiver: HttpReceiver, folder: Path
) -> None:
    receiver.refuse()
    for _ in range(3):
        serve(run, spooling(receiver, folder, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="20"), 400)
    assert len(files(folder)) >= 60
    receiver.accept()
    servers = [run.uvicorn("selfcall:app", env=spooling(receiver, folder)) for _ in range(3)]
    for server in servers:
        assert server.get("/items/1").status_code == 200
    receiver.wait(1203)
    for server in servers:
        assert server.stop() == -15
    assert files(folder) == []
    assert set(counts_of(receiver).values()) == {1}


def test_a_file_whose_sender_is_killed_before_it_is_deleted_shows_once(
    run: Runner, receiver: HttpReceiver, jaeger: Jaeger, folder: Path, tmp_path: Path
) -> None:
    """The next process sends it again, for it cannot know of the answer; Jaeger shows one span."""
    receiver.refuse()
    env = spooling(receiver, folder, OTEL_SERVICE_NAME="sent-twice")
    serve(run, env, 5)
    kept = shutil.copytree(folder, tmp_path / "kept")
    env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.http_endpoint}
    for _ in range(2):
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        sender = run.uvicorn("selfcall:app", env=env)
        assert sender.get("/items/1").status_code == 200
        until(lambda: not files(folder), 10, lambda: str(files(folder)))
        assert sender.stop() == -signal.SIGTERM
        assert "0 of them went into files, and 5 came out of such and were sent" in sender.stderr
    until(lambda: shown(jaeger) >= 7, 10, lambda: f"{shown(jaeger)} spans")
    assert shown(jaeger) == 7


def shown(jaeger: Jaeger) -> int:
    return sum(len(trace["spans"]) for trace in jaeger.traces("sent-twice"))


def test_the_oldest_go_first_and_are_counted(
    run: Runner, receiver: HttpReceiver, folder: Path
) -> None:
    receiver.refuse()
    path = "/items/" + "x" * 3000
    env = spooling(receiver, folder, FAA_SPOOL_SIZE="1", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="50")
    process = run.run([run.python, "selfcall.py", "1000", path], env=env)
    assert process.status == 0
    assert sum(file.stat().st_size for file in files(folder)) <= 1 << 20
    receiver.accept()
    server = run.uvicorn("selfcall:app", env=spooling(receiver, folder))
    assert server.get("/items/1").status_code == 200
    until(lambda: not files(folder), 20, lambda: str(files(folder)))
    assert server.stop() == -15
    came = [span for span in receiver.spans if span.resource["process.pid"] == process.pid]
    counted = counts(process)
    gone = counted.dropped
    assert (counted.ended, counted.exported, counted.spooled) == (1000, 0, 1000)
    assert len(came) + gone == 1000
    assert 0 < gone < 1000
    assert max(s.start_ns for s in came) - min(s.start_ns for s in came) >= 0
    last = run_end(process)
    assert any(abs(span.end_ns - last) < 60e9 for span in came)


def run_end(process: Process) -> float:
    return os.stat(process._err).st_mtime_ns


def test_a_torn_file_is_thrown_away_and_the_rest_is_kept(
    run: Runner, receiver: HttpReceiver, folder: Path
) -> None:
    receiver.refuse()
    serve(run, spooling(receiver, folder, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="10"), 40)
    whole = files(folder)
    assert len(whole) == 4
    whole[0].write_bytes(whole[0].read_bytes()[:-5])
    damaged = bytearray(whole[1].read_bytes())
    damaged[100] ^= 1
    whole[1].write_bytes(damaged)
    (folder / "00000000000000000000-1-1.otlp").write_bytes(b"")
    (folder / "00000000000000000001-1-1.otlp").symlink_to("/etc/passwd")
    (folder / "notes.txt").write_text("mine")
    receiver.accept()
    server = run.uvicorn("selfcall:app", env=spooling(receiver, folder))
    assert server.get("/items/1").status_code == 200
    receiver.wait(21)
    assert server.stop() == -15
    assert len(receiver.spans) == 21
    # Of those that are torn it is known what they had.
    assert counts(server) == Counts(ended=1, exported=1, dropped=20, unspooled=20)
    assert (folder / "notes.txt").read_text() == "mine"
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(
    run: Runner, receiver: HttpReceiver, folder: Path, mode: int
) -> None:
    receiver.refuse()
    folder.mkdir()
    folder.chmod(mode)
    process = serve(run, receiver.env | {"FAA_SPOOL_DIR": str(folder)}, 3)
    assert "FAA_SPOOL_DIR" in process.agent_lines[0]
    assert "others may write to it" in process.agent_lines[0]
    assert files(folder) == []


@pytest.mark.parametrize("place", ["/proc/nothing", "/etc/passwd", "/nowhere/spool"])
def test_a_folder_that_cannot_be_made(run: Runner, receiver: HttpReceiver, place: str) -> None:
    process = serve(run, receiver.env | {"FAA_SPOOL_DIR": place}, 3)
    assert f"FAA_SPOOL_DIR: {place} cannot be used" in process.agent_lines[0]
    assert len(receiver.spans) == 3


def test_a_file_that_is_too_large_for_the_collector_goes_in_parts(
    run: Runner, receiver: HttpReceiver, folder: Path
) -> None:
    receiver.refuse()
    serve(run, spooling(receiver, folder), 300)
    assert len(files(folder)) == 1
    receiver.behave(Answer(413, limit=20_000))
    receiver.accept()
    server = run.uvicorn("selfcall:app", env=spooling(receiver, folder))
    assert server.get("/items/1").status_code == 200
    receiver.wait(301)
    until(lambda: not files(folder), 10, lambda: str(files(folder)))
    assert server.stop() == -15
    assert set(counts_of(receiver).values()) == {1}


def test_a_collector_that_comes_back_gets_the_files_of_a_process_that_is_still_there(
    run: Runner, receiver: HttpReceiver, folder: Path
) -> None:
    """Without a new span: the process tries by itself."""
    receiver.refuse()
    process = run.start(
        [run.python, "-c", "import selfcall, time\nfor _ in range(6000): selfcall.request()\n"
         "print('served', flush=True)\ntime.sleep(600)"],
        env=spooling(receiver, folder),
    )  # fmt: skip
    process.wait_log("served")
    until(lambda: folder.exists() and files(folder), 20, lambda: process.describe())
    receiver.accept()
    receiver.wait(6000, timeout=60)
    until(lambda: not files(folder), 20, lambda: str(files(folder)))
    process.send_signal(signal.SIGKILL)
    assert set(counts_of(receiver).values()) == {1}


def test_a_file_that_goes_in_parts_and_must_wait_is_counted_once(
    run: Runner, receiver: HttpReceiver, folder: Path
) -> None:
    """The collector goes away again between the parts: what is left goes into files."""
    receiver.refuse()
    first = serve(run, spooling(receiver, folder), 300)
    receiver.behave(*[Answer(413, limit=20_000)] * 8, Answer(503))
    receiver.accept()
    server = run.uvicorn("selfcall:app", env=spooling(receiver, folder))
    assert server.get("/items/1").status_code == 200
    server.wait_log("HTTP 503")
    assert server.stop() == -15
    last = run.uvicorn("selfcall:app", env=spooling(receiver, folder))
    receiver.behave()
    assert last.get("/items/2").status_code == 200
    receiver.wait(302)
    until(lambda: not files(folder), 10, lambda: str(files(folder)))
    assert last.stop() == -15
    assert set(counts_of(receiver).values()) == {1}
    total = counts(first) + counts(server) + counts(last)
    assert total.ended == 302 == len(receiver.spans) + total.dropped
    assert total.ended == total.exported + total.unspooled + total.dropped
    assert (total.dropped, counts(server).spooled) == (0, 0 if counts(server).exported else 1)


def test_what_a_dead_process_did_not_finish_is_cleared_away(
    run: Runner, receiver: HttpReceiver, folder: Path
) -> None:
    folder.mkdir(mode=0o700)
    old, new, other = (
        folder / name for name in (".00000000000000000000-1-1.otlp", ".1-1-1.otlp", ".keep")
    )
    for path in (old, new, other):
        path.write_bytes(b"faaspol1")
    for path in (old, other):
        os.utime(path, (0, 0))
    serve(run, spooling(receiver, folder), 1)
    assert files(folder) == [new, other]


# Without disk

DISK_COUNT = 3000
FULL_DISK = """
mount -t tmpfs -o size=$1,mode=0700 spool "$SPOOL" || exit 77
[ "$2" = 0 ] || head -c "$2" /dev/zero > "$SPOOL/other" || :
LD_PRELOAD=$SHIM "$PYTHON" selfcall.py $COUNT || exit 1
rm -f "$SPOOL/other"
echo stored; ls "$SPOOL" | wc -l
until [ -e "$GO" ]; do sleep 0.05; done
LD_PRELOAD=$SHIM "$PYTHON" -c "$LAST" || exit 1
ls "$SPOOL"
"""
# Waits for what the first one kept.
LAST = """
import os, selfcall, time
selfcall.request()
end = time.monotonic() + 30
while os.listdir(os.environ["FAA_SPOOL_DIR"]) and time.monotonic() < end: time.sleep(0.05)
"""


@pytest.mark.parametrize(
    ("size", "used"), [("64k", 65536), ("200k", 0), ("1m", 900_000)], ids=["none", "little", "some"]
)
def test_a_disk_that_is_full(
    run: Runner,
    receiver: HttpReceiver,
    folder: Path,
    own_mounts: list[str],
    tmp_path: Path,
    size: str,
    used: int,
) -> None:
    receiver.refuse()
    folder.mkdir(mode=0o700)
    go = tmp_path / "go"
    env = spooling(receiver, folder, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="60")
    env |= {"SHIM": str(run.build / "lib" / "libfaa.so"), "PYTHON": run.python, "LAST": LAST}
    env |= {"SPOOL": str(folder), "GO": str(go), "COUNT": str(DISK_COUNT)}
    command = [*own_mounts, "sh", "-c", FULL_DISK, "sh", size, str(used)]
    process = run.start(command, agent="none", env=env)
    process.wait_log("^stored$")
    stored = int(process.wait_log(r"^stored\n(\d+)$")[1])
    receiver.accept()
    go.touch()
    assert process.wait(60) == 0, process.describe()
    assert process.stdout == f"served {DISK_COUNT}\nstored\n{stored}\n"
    total = counts(process)
    assert set(counts_of(receiver).values()) == {1}
    assert total.ended == DISK_COUNT + 1 == len(receiver.spans) + total.dropped
    assert total.exported + total.unspooled == len(receiver.spans)
    assert total.waiting == 0
    assert (stored > 0) == (size != "64k")


PIPED = '{ "$@" 2>&1 >&3 3>&- | cat >&2; } 3>&1 | cat'


@pytest.mark.parametrize("fault", ["no-files", "short-files"])
def test_files_that_may_not_grow(
    run: Runner, receiver: HttpReceiver, folder: Path, fault: str
) -> None:
    """RLIMIT_FSIZE, which sends a signal besides; the log goes through a pipe."""
    receiver.refuse()
    env = spooling(receiver, folder, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="300")
    command = ["sh", "-c", PIPED, "sh", run.python, "faulty.py", fault, "0", "900"]
    first = run.run(command, env=env)
    assert told(first)["answers"] == {"200": 900}
    receiver.accept()
    server = run.uvicorn("selfcall:app", env=spooling(receiver, folder))
    assert server.get("/items/1").status_code == 200
    until(lambda: not files(folder), 20, lambda: str(files(folder)))
    assert server.stop() == -15
    total = counts(first) + counts(server)
    assert set(counts_of(receiver).values()) == {1}
    assert total.ended == 901 == len(receiver.spans) + total.dropped
    assert (total.dropped == 900) == (fault == "no-files") and total.dropped > 0
    assert total.waiting == 0


def test_a_folder_that_is_taken_away(run: Runner, receiver: HttpReceiver, folder: Path) -> None:
    receiver.refuse()
    code = (
        "import os, selfcall, shutil, time\n"
        "selfcall.request()\n"
        "while not os.path.exists(os.environ['FAA_SPOOL_DIR']): time.sleep(0.01)\n"
        "for _ in range(5000): selfcall.request()\n"
        "time.sleep(0.1)\n"
        "shutil.rmtree(os.environ['FAA_SPOOL_DIR'])\n"
        "for _ in range(5000): selfcall.request()\n"
    )
    process = run.run([run.python, "-c", code], env=spooling(receiver, folder))
    assert process.status == 0, process.describe()
    counted = counts(process)
    assert counted.ended == 10001 == counted.dropped + counted.spooled
    assert counted.spooled > 0 and counted.waiting == 0
