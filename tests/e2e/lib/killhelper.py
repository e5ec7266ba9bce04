#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""killhelper.py PID COUNT SECONDS: kills the first COUNT lsmkv-compact that
the process PID starts, as soon as each is there. They may live for a few
milliseconds only, too short for pgrep."""

import os
import signal
import sys
import time


def children(pid):
    for task in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/children" % (pid, task)) as f:
                yield from map(int, f.read().split())
        except (FileNotFoundError, ProcessLookupError):
            pass  # that thread has ended


def main(pid, count, seconds):
    pid, left = int(pid), int(count)
    end = time.monotonic() + float(seconds)
    while left and time.monotonic() < end:
        for child in children(pid):
            try:
                with open("/proc/%d/comm" % child) as f:
                    if f.read().strip() != "lsmkv-compact":
                        continue
                os.kill(child, signal.SIGKILL)
                left -= 1
            except (FileNotFoundError, ProcessLookupError):
                continue
            while os.path.exists("/proc/%d" % child):
                time.sleep(0.001)  # until its parent knows
            break
        time.sleep(0.0005)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
