# SPDX-License-Identifier: MIT
"""Files for as long as the collector is away: FAA_SPOOL_DIR."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from harness.deadline import until
from harness.process import Process, Runner
from harness.receiver import HttpReceiver


def spooling(receiver: HttpReceiver, folder: Path, **more: str) -> dict[str, str]:
    """The environment of a process that keeps its batches in this folder."""
    return receiver.env | {"FAA_SPOOL_DIR": str(folder), "FAA_LOG_LEVEL": "debug"} | more


def serve(run: Runner, env: dict[str, str], count: int) -> Process:
    process = run.run([run.python, "selfcall.py", str(count), "/items/7"], env=env)
    assert process.status == 0, process.describe()
    return process


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def counts(receiver: HttpReceiver) -> Counter[str]:
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
    assert "they are kept, in files when memory is short" in first.stderr
    assert "700 spans ended, 0 exported, 0 dropped" in first.stderr
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in files(folder)} == {0o600}
    receiver.accept()
    server = run.uvicorn("selfcall:app", env=spooling(receiver, folder))
    assert server.get("/items/1").status_code == 200
    receiver.wait(701)
    until(lambda: not files(folder), 10, lambda: str(files(folder)))
    assert server.stop() == -15
    assert set(counts(receiver).values()) == {1}


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
    assert set(counts(receiver).values()) == {1}


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
    assert set(counts(receiver).values()) == {1}


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
    gone = sum(int(n) for n in re_dropped(process.stderr))
    assert len(came) + gone == 1000
    assert 0 < gone < 1000
    assert max(s.start_ns for s in came) - min(s.start_ns for s in came) >= 0
    last = run_end(process)
    assert any(abs(span.end_ns - last) < 60e9 for span in came)


def re_dropped(text: str) -> list[str]:
    import re

    return re.findall(r"its oldest (\d+) spans dropped", text)


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
    from harness.receiver import Answer

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
    assert set(counts(receiver).values()) == {1}


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
    assert set(counts(receiver).values()) == {1}
