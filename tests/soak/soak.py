#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Clients at work while responder and helpers are killed at random.

    soak.py PORT WEB_PID KILLS [SEED]

lighttpd, process WEB_PID, starts a new responder when one dies. Two of three
kills hit the responder, after a random time, often while it opens; the third
hits the helper that it starts next. Every answer is held against what the
client knows, as hammer.py does, and every key is read in the end.
"""

import os
import random
import signal
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE + "/../e2e/lib"]

import hammer
import killhelper

CLIENTS = 16
KEYS = 40
HELPER_S = 2.0  # a helper is not waited for longer
TELL_S = 10


def child(pid, name):
    """A child of that name; None if there is none."""
    for found in killhelper.children(pid):
        try:
            with open("/proc/%d/comm" % found) as f:
                if f.read().strip() == name:
                    return found
        except (FileNotFoundError, ProcessLookupError):
            pass
    return None


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False


class Killer:
    def __init__(self, web, rng):
        self.web = web
        self.random = rng
        self.responders = self.helpers = 0

    def responder(self):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            pid = child(self.web, "lsmkv.fcgi")
            if pid:
                return pid
            time.sleep(0.005)
        raise hammer.Wrong("no responder for 30 s")

    def one(self):
        """Kills one of them."""
        pid = self.responder()
        if self.random.random() < 0.34:
            end = time.monotonic() + HELPER_S
            while time.monotonic() < end:
                try:
                    helper = child(pid, "lsmkv-compact")
                except FileNotFoundError:
                    break
                if helper:
                    time.sleep(self.random.choice([0, 0, 0.002, 0.01]))
                    if kill(helper):
                        self.helpers += 1
                        return
                time.sleep(0.0005)
            pid = self.responder()
        self.responders += kill(pid)


def main(port, web, kills, seed=None):
    seed = int(seed or random.randrange(1 << 31))
    print("# seed %d" % seed, flush=True)
    newest = hammer.Newest()
    clients = [hammer.Client(i, hammer.Http(int(port)), KEYS, newest)
               for i in range(CLIENTS)]
    going = [True]

    def deed(c):
        c.work(lambda: going[0])
        c.check()

    began = told = time.monotonic()
    threads = hammer.at_once(clients, deed)
    killer = Killer(int(web), random.Random(seed))
    wrong = None
    try:
        while (killer.responders + killer.helpers < int(kills)
               and not any(c.wrong for c in clients)):
            # lighttpd starts one a second at most.
            time.sleep(killer.random.choice(
                [0, killer.random.expovariate(20),
                 killer.random.uniform(0, 0.5)]))
            killer.one()
            if time.monotonic() > told + TELL_S:
                told = time.monotonic()
                print("  %d of %s kills, %d writes acknowledged" % (
                    killer.responders + killer.helpers, kills,
                    sum(c.written for c in clients)), flush=True)
    except hammer.Wrong as e:
        wrong = e
        print(e)
    finally:
        going[0] = False
        for t in threads:
            t.join()
    good = hammer.report(clients) and not wrong
    codes = {}
    for c in clients:
        for code, n in c.codes.items():
            codes[code or "no answer"] = codes.get(code or "no answer", 0) + n
    # Only lighttpd may refuse, while there is no responder.
    for code in codes:
        if code not in ("no answer", "500", "502", "503", "stalled"):
            print("an answer was %r" % code)
            good = False
    print("# %d kills of the responder and %d of the helper in %.0f s;"
          " %d writes acknowledged; failed: %s; %s"
          % (killer.responders, killer.helpers, time.monotonic() - began,
             sum(c.written for c in clients),
             ", ".join("%s %d" % (k, n) for k, n in sorted(codes.items())),
             "0 lost, 0 wrong" if good else "FAILED"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
