"""Sees to it that what we start ends with us, even when we are ended by `kill -9`.

A guardian is a tiny process in a session of its own. It reads our pipe, is told what we started, and when the pipe
ends, which the kernel brings about however we die, it ends exactly that. Works wherever there are pipes and process
groups; Linux's PR_SET_PDEATHSIG is no use here, as it fires when the *thread* that started a server ends.

Run as a script this file is the guardian; standard library only, so that it starts in 20 ms and takes 9 MB.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# How long a ward may take over its farewell before it gets SIGKILL. RabbitMQ takes 1 s; Postgres allows its children 5.
_FAREWELL_SECONDS = 6.0

# The shell waits for a line before it becomes the command: if we die before the guardian knows its pid, it reads the
# end of the pipe instead and ends.
_GATE = 'read -r _ && exec "$@" </dev/null'


class Guardian:
    """Our side of the pipe. `hold`: file descriptors that stay open until the last ward has ended (a lock, say)."""

    def __init__(self, *, hold: Sequence[int] = ()) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            pass_fds=hold,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._pipe = self._process.stdin
        with self._process.stdout as said:
            said.readline()  # it is deaf to signals now

    @property
    def pid(self) -> int:
        return self._process.pid

    def adopt(self, pid: int, farewell: signal.Signals = signal.SIGKILL) -> None:
        """End this process, and the group it leads, when we die: by `farewell`, then by SIGKILL."""
        self._tell(f"adopt {pid} {farewell.value}")

    def release(self, pid: int) -> None:
        """Forget a process that has ended, before its number belongs to another."""
        with suppress(BrokenPipeError):  # no guardian, nothing to forget
            self._tell(f"release {pid}")

    def spawn(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        farewell: signal.Signals = signal.SIGKILL,
    ) -> subprocess.Popen[bytes]:
        """Start a command, already adopted, in a session of its own: Ctrl-C in the terminal reaches only us.

        What it prints is appended to `log`; what it creates is closed to other users.
        """
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _GATE, "gate", *command],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
                umask=0o077,
            )
        assert process.stdin is not None
        try:
            with process.stdin as gate:
                self.adopt(process.pid, farewell)
                with suppress(BrokenPipeError):  # it may be dead already; who waits for it will see
                    gate.write(b"\n")
        except BrokenPipeError:  # there is no guardian: the closed gate has ended the shell
            process.wait()
            raise
        return process

    def close(self) -> None:
        """End the guardian, and with it whatever it still has."""
        with suppress(BrokenPipeError):
            self._pipe.close()
        self._process.wait(timeout=_FAREWELL_SECONDS + 2)

    def _tell(self, line: str) -> None:
        # One write of less than PIPE_BUF is atomic: threads need no lock, and a death in the middle leaves whole lines.
        os.write(self._pipe.fileno(), f"{line}\n".encode())


def signal_group(pid: int, number: int) -> bool:
    """Signal the group that `pid` leads, or `pid` alone if it leads none. False if neither is there any more."""
    for send in (os.killpg, os.kill):
        # macOS answers EPERM for a group of zombies.
        with suppress(ProcessLookupError, PermissionError):
            send(pid, number)
            return True
    return False


def _end(wards: Mapping[int, int]) -> None:
    """End the youngest first: applications before the servers they use."""
    for pid, farewell in reversed(list(wards.items())):
        signal_group(pid, farewell)
    deadline = time.monotonic() + _FAREWELL_SECONDS
    while time.monotonic() < deadline and any(signal_group(pid, 0) for pid in wards):
        time.sleep(0.02)
    for pid in wards:
        signal_group(pid, signal.SIGKILL)


def _watch() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # only the end of the pipe ends a guardian
    print(flush=True)
    wards: dict[int, int] = {}
    for line in sys.stdin:
        verb, pid, *farewell = line.split()
        if verb == "adopt":
            wards[int(pid)] = int(farewell[0])
        else:
            wards.pop(int(pid), None)
    _end(wards)


if __name__ == "__main__":
    _watch()
