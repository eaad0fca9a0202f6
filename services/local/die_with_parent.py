"""Runs a program in this process after asking the kernel to kill it when its parent ends.

`python -I -S die_with_parent.py PARENT_PID PROGRAM [ARGUMENT ...]`.  A file of its own, without imports from
this repository, so that it costs some 20 ms; a function that runs between fork and exec could deadlock in a
process with threads.  On other systems than Linux the next `afterword up` kills orphaned parts.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, program, *arguments = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("the parent process has ended")
    os.execve(program, [program, *arguments], os.environ)  # noqa: S606 (arguments from our own supervisor)
