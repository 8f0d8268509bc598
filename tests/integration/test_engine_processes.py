"""What happens to an engine when its process is interrupted, forks or ends."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

HEAD = """
import gc, os, signal, sys, threading
from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.errors import *
MODEL = sys.argv[1]
LONG = SamplingParams(temperature=0, max_tokens=8000)
"""


def run(smollm2: Path, body: str) -> str:
    """Runs a program in a fresh interpreter and returns what it printed; it must end by itself."""
    program = HEAD + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program, str(smollm2)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize(
    "state",
    [
        "",
        "stream = engine.stream('Once upon a time', LONG); next(stream)",
        "engine.generate('a', SamplingParams(max_tokens=2))",
        "engine.close()",
        "engine = [engine]; engine.append(engine)",
    ],
    ids=["idle", "streaming", "finished", "closed", "in a cycle"],
)
def test_the_interpreter_exits_with_an_open_engine(smollm2: Path, state: str) -> None:
    assert run(smollm2, f"engine = Engine(MODEL)\n{state}\nprint('end')") == "end"


def test_the_interpreter_exits_while_a_daemon_thread_waits(smollm2: Path) -> None:
    body = """
    engine = Engine(MODEL)
    started = threading.Event()
    def work():
        try:
            for chunk in engine.stream("Once upon a time", LONG):
                started.set()
        except EngineClosedError:
            pass
    threading.Thread(target=work, daemon=True).start()
    started.wait()
    print("end")
    """
    assert run(smollm2, body).endswith("end")


def test_a_thread_finishes_its_work_after_the_main_thread(smollm2: Path) -> None:
    body = """
    engine = Engine(MODEL)
    def work():
        print(engine.generate("a", SamplingParams(temperature=0, max_tokens=20)).usage.total_tokens)
    threading.Thread(target=work).start()
    """
    assert int(run(smollm2, body)) > 1


def test_an_engine_opened_at_exit_is_closed_too(smollm2: Path) -> None:
    body = """
    import atexit
    engine = Engine(MODEL)
    def last():
        print(engine.generate("a", SamplingParams(max_tokens=1)).usage.completion_tokens)
    atexit.register(last)
    """
    assert run(smollm2, body) == "1"


@pytest.mark.parametrize(
    "call",
    [
        "engine.generate('Once upon a time', LONG)",
        "list(engine.stream('Once upon a time', LONG))",
        "asyncio.run(engine.agenerate('Once upon a time', LONG))",
        "chat.batch(['Tell me a story.', 'Tell me another.'])",
        "list(chat.batch_as_completed(['Tell me a story.', 'Tell me another.']))",
    ],
)
def test_an_interrupt_cancels_and_leaves_the_engine_usable(smollm2: Path, call: str) -> None:
    body = f"""
    import asyncio
    from vllm_swift_integrations.langchain import ChatVLLMSwift
    engine = Engine(MODEL)
    chat = ChatVLLMSwift(model=MODEL, temperature=2, max_tokens=4000, seed=1)
    def interrupt():
        while engine.stats().steps < 3:
            pass
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt).start()
    try:
        {call}
    except KeyboardInterrupt:
        print("interrupted")
    print(engine.generate("a", SamplingParams(max_tokens=3)).outputs[0].finish_reason is not None)
    print(engine.stats().running + engine.stats().waiting)
    """
    assert run(smollm2, body).split() == ["interrupted", "True", "0"]


def test_a_forked_child_gets_an_error_and_the_parent_goes_on(smollm2: Path) -> None:
    body = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    engine = Engine(MODEL)
    stream = engine.stream("Once upon a time", LONG)
    next(stream)
    child = os.fork()
    if child == 0:
        calls = (
            lambda: engine.generate("a"), lambda: engine.stream("a"), lambda: next(stream),
            engine.stats, lambda: engine.logits([1]), lambda: Engine(MODEL),
        )
        refused = 0
        for call in calls:
            try:
                call()
            except ForkedProcessError:
                refused += 1
        engine.close()
        del stream, engine
        gc.collect()
        sys.exit(0 if refused == len(calls) else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    stream.close()
    print(status, engine.generate("a", SamplingParams(max_tokens=2)).usage.completion_tokens)
    """
    assert run(smollm2, body) == "0 2"


def test_a_child_of_a_process_that_opened_nothing_may_open(smollm2: Path) -> None:
    body = """
    child = os.fork()
    if child == 0:
        with Engine(MODEL) as engine:
            count = engine.generate("a", SamplingParams(max_tokens=2)).usage.completion_tokens
        sys.exit(0 if count else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run(smollm2, body) == "0"


def test_mlx_in_the_same_process_is_left_alone(smollm2: Path) -> None:
    pytest.importorskip("mlx.core")
    body = """
    import mlx.core as mx
    before = (mx.default_device(), mx.default_stream(mx.default_device()))
    with Engine(MODEL) as engine:
        engine.generate("a", SamplingParams(max_tokens=2))
        assert (mx.default_device(), mx.default_stream(mx.default_device())) == before
        print(mx.arange(10).sum().item())
    print((mx.ones((4, 4)) @ mx.ones((4, 4))).sum().item())
    """
    assert run(smollm2, body).split() == ["45", "64.0"]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which processors a thread may use")
def test_threads_of_the_host_keep_their_processors_and_their_policy(smollm2: Path) -> None:
    body = """
    def placement():
        return os.sched_getaffinity(0), os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    before, seen = placement(), []
    engine = Engine(MODEL)
    engine.generate("a", SamplingParams(max_tokens=4))
    for chunk in engine.stream("a", SamplingParams(max_tokens=4)):
        seen.append(placement())
    thread = threading.Thread(target=lambda: seen.append(placement()))
    thread.start()
    thread.join()
    print(len(seen) > 1 and all(one == before for one in seen))
    """
    assert run(smollm2, body) == "True"
