#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The power goes while clients write, again and again.

    powerloss.py [--fs ext4,xfs] [--crashes N] [--seed N] [RESPONDER'S OPTION...]

A responder keeps its store on a file system in a file. 16 clients set, delete
and get; then the file system is shut down without a flush of its log, as if
the power had gone: what was not synced is lost. From then on nothing may be
acknowledged. (While it is being shut down, XFS has a moment in which fdatasync
succeeds and loses the data, xfs_file_fsync() finding the inode unpinned: what
is answered then is not counted as acknowledged.) The responder is killed, the file system unmounted and mounted again, the
responder started; every key is then compared with what its client knows. Some
crashes come before the responder has done opening. Each tenth time, lsmkv
verify reads the whole store, too.

Exit status: 0 if nothing was lost, 1 if something was, 77 (and the reason) if
this cannot run here.
"""

import argparse
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, HERE + "/../e2e/lib"]

import disk
import fastcgi
import hammer
import responder

CLIENTS = 16
KEYS = 24
LOAD_S = 0.1    # of load, at most
EARLY_S = 0.03  # a crash while it opens comes within
# Small, so that flushes and compactions are always under way.
OPTIONS = ["--memtable=64K", "--memory=8M", "--threads=16"]
VERIFY_EACH = 10


class Crashes:
    def __init__(self, kind, seed, scratch, options):
        self.kind = kind
        self.random = random.Random(seed)
        self.disk = disk.Disk(kind, "%s/%s.img" % (scratch, kind),
                              "%s/%s" % (scratch, kind))
        self.responder = responder.Responder(
            self.disk.path + "/data", "%s/%s-run" % (scratch, kind),
            *OPTIONS, *options)
        newest = hammer.Newest()
        self.power = hammer.Power()
        self.clients = [
            hammer.Client(i, fastcgi.Fastcgi(self.responder.socket), KEYS,
                          newest, self.power) for i in range(CLIENTS)]
        self.early = self.compactions = 0

    def wrong(self):
        return next((c.wrong for c in self.clients if c.wrong), None)

    def opened(self):
        """Starts it and compares all keys; what is wrong, or None."""
        self.responder.start()
        if not self.responder.wait():
            return "it does not open"
        # In one thread: Python has no use for more here.
        for c in self.clients:
            c.transport.close()
            c.restarted()
            c.check()
        return self.wrong()

    def crash(self, number):
        """What was wrong, or None."""
        if self.random.random() < 0.2:
            self.early += 1
            self.responder.start()
            time.sleep(self.random.uniform(0, EARLY_S))
            self.disk.power_off()
        else:
            wrong = self.opened()
            if wrong:
                return wrong
            going = [True]
            threads = hammer.at_once(self.clients,
                                     lambda c: c.work(lambda: going[0]))
            time.sleep(self.random.uniform(0, LOAD_S))
            self.power.state = hammer.Power.GOING
            self.disk.power_off()
            self.power.state = hammer.Power.OFF
            # Nothing may be acknowledged from a disk that is gone.
            time.sleep(self.random.choice([0, 0, 0.005, 0.02]))
            going[0] = False
            self.responder.kill()
            for t in threads:
                t.join()
            self.power.state = hammer.Power.ON
        self.responder.kill()
        with open(self.responder.log, errors="replace") as f:
            self.compactions += "compaction: level" in f.read()
        self.disk.unmount()
        self.disk.mount()
        if number % VERIFY_EACH == 0:
            found = responder.verified(self.responder.data)
            if found and os.path.exists(self.responder.data + "/MANIFEST"):
                return "lsmkv verify: " + found
        return self.wrong()

    def run(self, count):
        """True if all went well."""
        began = told = time.monotonic()
        wrong = None
        done = 0
        while done < count and not wrong:
            done += 1
            wrong = self.crash(done)
            if time.monotonic() > told + 10:
                told = time.monotonic()
                print("  %s: %d of %d crashes, %d writes acknowledged"
                      % (self.kind, done, count, self.written()), flush=True)
        wrong = wrong or self.opened()
        if wrong:
            print("crash %d of %s: %s\n%s" % (done, self.kind, wrong,
                                             self.responder.said()))
        elif self.responder.stop():
            wrong = "SIGTERM after the last crash"
            print(wrong)
        self.responder.kill()
        print("# %s: %d crashes (%d while it opened) in %.0f s, %d of the"
              " runs compacted; %d writes acknowledged, %d requests failed"
              " under way; %s"
              % (self.kind, done, self.early, time.monotonic() - began,
                 self.compactions, self.written(),
                 sum(c.failed for c in self.clients),
                 "FAILED" if wrong else "0 lost, 0 wrong"), flush=True)
        return not wrong

    def written(self):
        return sum(c.written for c in self.clients)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--fs", default="ext4,xfs")
    parser.add_argument("--crashes", type=int, default=1000)
    parser.add_argument("--seed", type=int,
                        default=random.randrange(1 << 31))
    options, rest = parser.parse_known_args()
    disk.alone()
    print("# seed %d" % options.seed, flush=True)
    good = True
    with disk.Scratch() as scratch:
        for kind in options.fs.split(","):
            crashes = Crashes(kind, options.seed, scratch, rest)
            with crashes.disk:
                try:
                    good = crashes.run(options.crashes) and good
                finally:
                    crashes.responder.kill()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
