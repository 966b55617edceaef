import functools
import math
import os
import re
import signal
import time

import pytest

from pipeline.data.sandbox import LostError, Sandbox

GENEROUS = {"cpu_seconds": 10.0, "memory_bytes": 1 << 30}


def reason(sandbox: Sandbox, *arguments: object) -> str:
    with pytest.raises(LostError) as lost:
        sandbox(*arguments)
    return lost.value.reason


def test_results_come_back():
    with Sandbox(math.hypot, **GENEROUS) as sandbox:
        assert [sandbox(3, 4), sandbox(5, 12)] == [5, 13]


def test_an_error_costs_one_item_and_says_what_it_was():
    with Sandbox(int, **GENEROUS) as sandbox:
        with pytest.raises(LostError, match="ValueError: invalid literal") as lost:
            sandbox("x")
        assert (lost.value.reason, sandbox("7")) == ("error", 7)


def test_a_loop_inside_c_code_is_ended_by_its_cpu_time_and_the_next_item_is_served():
    backtracking = functools.partial(re.findall, "^(a+)+b")
    with Sandbox(backtracking, cpu_seconds=0.3, memory_bytes=1 << 30) as sandbox:
        assert reason(sandbox, "a" * 60) == "time"
        assert sandbox("aab") == ["aa"]


def test_too_much_memory_is_refused_and_the_next_item_is_served():
    with Sandbox(bytearray, cpu_seconds=10, memory_bytes=400 << 20) as sandbox:
        assert reason(sandbox, 1 << 30) == "memory"
        assert sandbox(3) == bytearray(3)


def busy(seconds: float) -> float:
    """Use CPU time; the first call in a process uses a second more, as one that imports a library does."""
    until = time.process_time() + seconds + (1.0 if busy.__dict__.setdefault("cold", True) else 0.0)
    busy.__dict__["cold"] = False
    while time.process_time() < until:
        pass
    return seconds


def test_no_item_pays_for_what_the_first_call_of_a_child_does():
    with Sandbox(busy, cpu_seconds=0.5, memory_bytes=1 << 30, warm_up=(0.0,)) as sandbox:
        assert sandbox(0.1) == 0.1
        assert reason(sandbox, 2.0) == "time"
        assert sandbox(0.1) == 0.1


def test_a_crash_costs_one_item():
    with Sandbox(os._exit, **GENEROUS) as sandbox:
        assert reason(sandbox, 3) == "crash"
        assert reason(sandbox, 3) == "crash"


def killed_in_the_first_child(first: int) -> int:
    if os.getpid() == first or first == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def test_a_child_that_was_killed_from_outside_costs_no_item_unless_it_is_each_time():
    with Sandbox(killed_in_the_first_child, **GENEROUS) as sandbox:
        first = sandbox(-1)
        assert sandbox(first) not in (first, -1)
        assert reason(sandbox, 0) == "crash"


def test_waiting_uses_no_cpu_time_and_is_ended_all_the_same():
    with Sandbox(time.sleep, cpu_seconds=0.02, memory_bytes=1 << 30) as sandbox:
        assert reason(sandbox, 1000) == "hang"


def test_what_the_function_prints_does_not_disturb_the_replies():
    with Sandbox(print, **GENEROUS) as sandbox:
        assert [sandbox("noise"), sandbox("more noise")] == [None, None]


def test_no_child_outlives_the_sandbox():
    with Sandbox(os.getpid, **GENEROUS) as sandbox:
        pid = sandbox()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
