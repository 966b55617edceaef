import os
import signal
import subprocess
import sys

from launch.process import beginning, is_alive, state_of


def test_a_process_has_ended_once_it_has_whether_or_not_it_was_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    began = beginning(child.pid)
    assert is_alive(child.pid) and is_alive(child.pid, began)
    assert not is_alive(child.pid, began + 1), "another one of the same id"

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert state_of(child.pid) == "Z" and not is_alive(child.pid, began)
    child.wait()
    assert not is_alive(child.pid)


def test_a_process_whose_first_thread_has_ended_lives_on_in_the_others() -> None:
    code = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "print('ends', flush=True)\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline()
    while state_of(child.pid) != "Z":
        assert child.poll() is None

    assert is_alive(child.pid, beginning(child.pid))
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
