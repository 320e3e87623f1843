"""Our programs in processes of their own, without the time that their imports take.

Nine tenths of the processor time of a command are imports. The fork server of `multiprocessing` imports
our package once, and forks for each program. What a program does with its arguments, environment, folder
and files is as always, but it hashes passwords quickly. A test takes `subprocess` where it looks at the
start itself, at the process's arguments, or at what Python reads before a program begins.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from signal import SIGKILL
from threading import Lock

from quick_hashes import QUICK_HASHER

from djoauth2_twisted import credentials

#: All that commands and servers import, but for Klein, which installs a reactor.
IMPORTED = [
    "djoauth2_twisted.cli",
    "djoauth2_twisted.stores.sql.registry",
    "djoauth2_twisted.tap",
    "sqlalchemy.dialects.sqlite",
    "twisted.internet.epollreactor",
    "twisted.scripts.twistd",
    "werkzeug.routing",
]

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(IMPORTED)

#: `multiprocessing` looks at all processes when it starts one, and tests have threads.
_LOCK = Lock()


class Forked:
    """A program that runs, with what tests use of `subprocess.Popen`.

    :param command: Python, and a script or ``-m`` and a module, and arguments.
    :param files: its standard input, output and error.
    """

    def __init__(
        self, command: Sequence[str], cwd: Path, env: Mapping[str, str], files: tuple[Path, Path, Path]
    ) -> None:
        assert command[0] == sys.executable
        self._process = _CONTEXT.Process(target=_run, args=(command[1:], cwd, dict(env), files))
        with _LOCK:
            self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """Its status, if it has ended; that of a signal is negative."""
        with _LOCK:
            return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Its status, once it has ended, in at most so many seconds."""
        wait([self._process.sentinel], timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without warning."""
        self.send_signal(SIGKILL)


def _run(words: Sequence[str], cwd: Path, env: dict[str, str], files: tuple[Path, Path, Path]) -> None:
    """Become the program. This is a new process, which `multiprocessing` has prepared in its way."""
    atexit._clear()
    credentials._hasher = QUICK_HASHER
    _open_standard_files(files)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(cwd)
    try:
        if words[0] == "-m":
            _search_modules_at(str(cwd), env)
            sys.argv[:] = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            _search_modules_at(str(Path(words[0]).parent), env)
            sys.argv[:] = words
            runpy.run_path(words[0], run_name="__main__")
    except Exception as error:
        # This and what was registered with `atexit` end a program. `multiprocessing` leaves both out.
        sys.excepthook(type(error), error, error.__traceback__)
        raise SystemExit(1) from None
    finally:
        atexit._run_exitfuncs()


def _open_standard_files(files: tuple[Path, Path, Path]) -> None:
    for number, (path, mode) in enumerate(zip(files, ("r", "a", "a"), strict=True)):
        with path.open(mode) as file:
            os.dup2(file.fileno(), number)
    # That of `multiprocessing` reads nothing. The others write to these files now.
    sys.stdin = os.fdopen(0)


def _search_modules_at(first: str, env: Mapping[str, str]) -> None:
    """Search modules where Python does: not where pytest does."""
    paths = sysconfig.get_paths()
    always = paths["stdlib"], f"{paths['stdlib']}/lib-dynload", paths["platlib"]
    sys.path[:] = [first, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep)), *always]
