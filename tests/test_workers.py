"""Worker processes that run LLVM: they are replaced when they end, and this process does their work if there are none."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import tracer
from tracer.runtime.compiler import compile as compiler
from tracer.runtime.compiler import machine, workers

IR = "define i32 @{}() {{ ret i32 7 }}"
CPU = machine.selected().described


@pytest.fixture
def fresh():
    """No workers before and after."""
    workers._end_all()
    yield
    workers._end_all()


def test_a_worker_answers_many_requests(fresh):
    for name in ("one", "two"):
        code, needed = workers.produce(IR.format(name), CPU, "object")
        assert name.encode() in code and needed == []
    assert len(workers._idle) == 1
    assert b"ret" in workers.produce(IR.format("three"), CPU, "asm")[0]
    assert workers.produce("declare void @g()\ndefine void @f() { call void @g() ret void }", CPU, "ir")[1] == ["g"]


def test_requests_of_a_batch_run_at_the_same_time(fresh):
    with workers.Batch(6) as batch:
        answers = [batch.produce(IR.format(f"f{n}"), CPU, "object") for n in range(6)]
        assert all(f"f{n}".encode() in answer.result()[0] for n, answer in enumerate(answers))
    assert 1 <= len(workers._idle) <= batch.width


def test_workers_that_have_ended_are_replaced(fresh):
    for _ in range(3):
        workers._start()
    for worker in workers._idle:
        worker.kill()
    assert workers.produce(IR.format("f"), CPU, "object")[0]
    assert len(workers._idle) == 1


ENDS = "import marshal, sys; marshal.dump('ready', sys.stdout.buffer); sys.stdout.flush(); sys.stdin.buffer.read(1)"


def test_a_text_that_ends_workers_is_an_error(fresh, monkeypatch):
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **how: start([*command[:-1], ENDS], **how))
    with pytest.raises(RuntimeError, match="LLVM ended its process"):
        workers.produce(IR.format("f"), CPU, "object")


@pytest.mark.parametrize("program", ["import no_such_module", "print('hello')", "import os; os.abort()"])
def test_a_process_that_is_no_worker_is_not_asked(fresh, monkeypatch, program):
    start, started = subprocess.Popen, []

    def other(command, **how):
        started.append(command)
        return start([*command[:-1], program], **how)

    monkeypatch.setattr(subprocess, "Popen", other)
    monkeypatch.setattr(workers, "_possible", True)
    for _ in range(3):
        assert b"f" in workers.produce(IR.format("f"), CPU, "object")[0]
    assert len(started) == 1 and not workers._idle


def test_a_program_that_embeds_python_is_not_started(monkeypatch):
    assert workers._is_interpreter("/usr/bin/python3.11") and workers._is_interpreter("C:/Python/python.exe")
    assert not workers._is_interpreter("/usr/bin/uwsgi") and not workers._is_interpreter("")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert not workers._is_interpreter("/opt/app/python-app")


def test_text_that_is_not_llvm_ir_is_an_error(fresh):
    with pytest.raises(RuntimeError, match="parsing error"):
        workers.produce("define nonsense", CPU, "object")
    assert workers.produce(IR.format("f"), CPU, "object")[0]


def test_without_processes_llvm_runs_here(fresh, monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(compiler.cache, "read", lambda name: None)
    f = tracer.trace(lambda x: (x.sin() + 1.2345) * 3)
    results = [f(tracer.ones(3)).tolist() for _ in range(3)]
    assert f.cache_info().replays == 2 and results[2] == pytest.approx(results[0], rel=1e-6)
    assert not workers._idle


def test_a_forked_process_has_its_own_workers(fresh):
    workers.produce(IR.format("f"), CPU, "object")
    child = os.fork()
    if not child:
        try:
            assert not workers._idle
            assert workers.produce(IR.format("g"), CPU, "object")[0]
            workers._end_all()
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert b"f" in workers.produce(IR.format("f"), CPU, "object")[0] and len(workers._idle) == 1


STARTS = """
import time
from tracer.runtime.compiler import machine, workers
workers.produce("define void @f() { ret void }", machine.selected().described, "object")
print(workers._idle[0].pid, flush=True)
time.sleep(60)
"""


def test_a_worker_ends_with_its_process():
    process = subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    end = time.monotonic() + 30
    while time.monotonic() < end and _lives(worker):
        time.sleep(0.02)
    assert not _lives(worker)


def _lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_function_that_this_process_lacks_is_not_linked(monkeypatch):
    with pytest.raises(NotImplementedError, match="'no_such_function'"):
        compiler._linkable(b"", ["no_such_function"])


def test_results_in_a_new_process_with_an_empty_cache(tmp_path):
    code = "f = tracer.trace(lambda x: x.softmax(0) * 2)\nfor _ in range(3): y = f(tracer.arange(4.0))\nprint(y.tolist())"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import tracer\n{code}"],
        capture_output=True,
        text=True,
        env={**os.environ, "TRACER_CACHE_DIR": str(tmp_path)},
    )
    assert run.returncode == 0 and not run.stderr, run.stderr
    np.testing.assert_allclose(eval(run.stdout), (tracer.arange(4.0).softmax(0) * 2).tolist(), rtol=1e-6)
