"""What the operating system grants a process: open files, and an end together with its parent."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

# A connection is a file: 1,500 transfers in flight need more than the usual 1,024.
OPEN_FILES = 65_536
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def allow_many_files() -> None:
    """Raise the limit of open files for this process and its future children as far as it may go."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def end_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when that parent ends, SIGKILL of the parent included (Linux only)."""
    if sys.platform.startswith("linux"):
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it ended before the line above
            os.kill(os.getpid(), signal.SIGTERM)
