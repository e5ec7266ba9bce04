#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Disks that fail or are full, under a store that is in use.

    faults.py [--cycles N] [--seed N] [eio] [readonly] [full] [tmpfs]

eio       ext4 in a file on a tmpfs that fills up: write-back fails with EIO,
          and a second fsync would lie. The batch that was under way is told
          that its outcome is unknown, later writes are refused, reads go on;
          room on the disk changes nothing before a restart. After it, and
          after a power loss, everything acknowledged is there.
readonly  ext4 turns read-only. Writes are refused, reads go on; after a
          remount and a restart everything acknowledged is there.
full      ext4 fills up and has room again, in turns. Writes are answered
          with 507, reads go on, and writes work again without a restart.
          In two of three turns the store is killed and opened while it is full;
          where others have taken its reserve, too, it may refuse to, until
          there is room.
tmpfs     the same on a small tmpfs.

Exit status: 0 if all went well, 1 if not, 77 (and the reason) if this cannot
run here.
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

CLIENTS = 8
KEYS = 40
OPTIONS = ["--memtable=256K", "--memory=8M", "--threads=16"]
PATIENCE_S = 20 * responder.SLOW
EIO_DISK = 128 * disk.MIB
EIO_ROOM = 24 * disk.MIB
FULL_DISK = 32 * disk.MIB
CHUNK = 64 << 10
FULL = "No space left on device"


class Failed(Exception):
    pass


class Store:
    """A responder, and clients that know what they may read."""

    def __init__(self, data, run, *options):
        self.responder = responder.Responder(data, run, *OPTIONS, *options)
        newest = hammer.Newest()
        self.clients = [hammer.Client(
            i, fastcgi.Fastcgi(self.responder.socket), KEYS, newest)
            for i in range(CLIENTS)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.responder.kill()

    def good(self):
        for c in self.clients:
            if c.wrong:
                raise Failed(c.wrong)

    def open(self):
        self.responder.start()
        if not self.responder.wait():
            raise Failed("it does not open")
        for c in self.clients:
            c.transport.close()
            c.restarted()
        self.check()

    def check(self):
        """Reads of all keys."""
        for c in self.clients:
            c.check(PATIENCE_S)
        self.good()

    def codes(self):
        """Failures since the last time that this was called."""
        all_codes = {}
        for c in self.clients:
            for code, n in c.codes.items():
                all_codes[code] = all_codes.get(code, 0) + n
            c.codes = {}
        return all_codes

    def load(self, seconds, until=None):
        """Clients at work for that long, or until a code was seen; what
        failed, by code."""
        end = time.monotonic() + seconds

        def going():
            return time.monotonic() < end and not (until and any(
                until in c.codes for c in self.clients))

        for t in hammer.at_once(self.clients, lambda c: c.work(going)):
            t.join()
        self.good()
        return self.codes()

    def written(self):
        return sum(c.written for c in self.clients)


def expect(codes, some, others=()):
    """Of `some` each is there, and nothing that is in neither."""
    for code in some:
        if code not in codes:
            raise Failed("no answer was %r: %s" % (code, codes))
    for code in codes:
        if code not in some and code not in others:
            raise Failed("an answer was %r: %s" % (code, codes))


def fill(path, leave):
    """A file that takes all room but `leave` bytes."""
    with open(path, "ab") as f:
        try:
            while True:
                os.write(f.fileno(), b"\xff" * CHUNK)
        except OSError:
            pass
    os.truncate(path, max(0, os.path.getsize(path) - leave))


def eio(scratch, rng):
    journal = rng.random() < 0.5
    with disk.Tmpfs(scratch + "/below", EIO_ROOM) as below, disk.Disk(
            "ext4", below.path + "/img", scratch + "/ext4", EIO_DISK,
            [] if journal else ["-O", "^has_journal"]) as d, \
            Store(d.path + "/data", scratch + "/run",
                  "--memtable=4M", "--memory=64M") as s:
        if journal:
            d.allocate_journal()
        s.open()
        expect(s.load(0.2), (), ("stalled",))
        fill(below.path + "/filler", rng.randrange(0, 128 << 10))
        expect(s.load(PATIENCE_S, until="outcome_unknown"),
               ("outcome_unknown",), ("failed", "stalled"))
        # Later writes are refused, even when a sync would succeed again.
        if rng.random() < 0.5:
            os.unlink(below.path + "/filler")
        before = s.written()
        expect(s.load(0.1), ("failed",))
        if s.written() != before:
            raise Failed("a write was acknowledged after a failed sync")
        s.check()
        s.responder.kill()
        if os.path.exists(below.path + "/filler"):
            os.unlink(below.path + "/filler")
        # What it finds now may be in memory only. (Unless ext4 has had enough
        # with its journal, and lets nobody write before a mount.)
        reopened = True
        try:
            s.open()
            expect(s.load(0.05), (), ("stalled",))
        except Failed:
            reopened = False
            if not journal or "Read-only file system" not in s.responder.said():
                raise
        s.responder.kill()
        if journal:
            d.power_off()
        d.unmount()
        d.mount()
        s.open()
        expect(s.load(0.05), (), ("stalled",))
        return "opened before a mount" if reopened else "opened after a mount"


def readonly(scratch, rng):
    with disk.Disk("ext4", scratch + "/img", scratch + "/ext4") as d, \
            Store(d.path + "/data", scratch + "/run") as s:
        s.open()
        expect(s.load(rng.uniform(0.05, 0.2)), (), ("stalled",))
        d.remount("abort")
        expect(s.load(0.2), (), ("outcome_unknown", "failed", "read_only"))
        before = s.written()
        expect(s.load(0.1), (), ("failed", "read_only"))
        if s.written() != before:
            raise Failed("a write was acknowledged without a disk")
        s.check()
        s.responder.kill()
        d.unmount()
        d.mount()
        s.open()
        expect(s.load(0.05), (), ("stalled",))


def brimful(path, s):
    """The store's reserve goes, too."""
    for _ in range(3):
        fill(path + "/filler", 0)
        expect(s.load(0.1), (), ("disk_full", "stalled"))
    fill(path + "/filler", 0)
    s.check()


def turns(path, run, cycles, rng):
    """Full and not, in turns."""
    with Store(path + "/data", run) as s:
        s.open()
        opened = refused = 0
        for cycle in range(cycles):
            expect(s.load(0.1), (), ("stalled",))
            pid = s.responder.process.pid
            # Somebody else takes what compaction gives back, too.
            codes = {}
            fills = 0
            end = time.monotonic() + PATIENCE_S
            while "disk_full" not in codes and time.monotonic() < end:
                fill(path + "/filler", rng.randrange(0, 256 << 10))
                fills += 1
                codes = s.load(0.3, until="disk_full")
            expect(codes, ("disk_full",), ("stalled",))
            expect(s.load(0.1), (), ("disk_full", "stalled"))
            s.check()
            if cycle % 3 == 1:
                brimful(path, s)
                fills += 4
            if cycle % 3:
                s.responder.kill()
                try:
                    s.open()
                    expect(s.load(0.1), (), ("disk_full", "stalled"))
                    opened += 1
                except Failed:
                    # Without its reserve it may want room first.
                    if fills == 1 or FULL not in s.responder.said():
                        raise
                    refused += 1
                    os.unlink(path + "/filler")
                    s.open()
                pid = s.responder.process.pid
            if os.path.exists(path + "/filler"):
                os.unlink(path + "/filler")
            end = time.monotonic() + PATIENCE_S
            while "disk_full" in s.load(0.05):
                if time.monotonic() > end:
                    raise Failed("writes do not come back")
            s.check()
            if s.responder.process.poll() is not None or (
                    s.responder.process.pid != pid):
                raise Failed("it has ended")
        if s.responder.stop():
            raise Failed("SIGTERM in the end")
        found = responder.verified(s.responder.data)
        if found:
            raise Failed(found)
        return {"opened while it was full": opened,
                "wanted room first": refused}


def full(scratch, rng, cycles):
    with disk.Disk("ext4", scratch + "/img", scratch + "/ext4",
                   FULL_DISK) as d:
        return turns(d.path, scratch + "/run", cycles, rng)


def tmpfs(scratch, rng, cycles):
    with disk.Tmpfs(scratch + "/tmpfs", FULL_DISK) as d:
        return turns(d.path, scratch + "/run", cycles, rng)


FAULTS = {"eio": eio, "readonly": readonly, "full": full, "tmpfs": tmpfs}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("fault", nargs="*", default=list(FAULTS))
    options = parser.parse_args()
    disk.alone()
    print("# seed %d" % options.seed, flush=True)
    rng = random.Random(options.seed)
    bad = 0
    for name in options.fault:
        began = time.monotonic()
        wrong = None
        hows = {}
        with disk.Scratch() as scratch:
            try:
                if name in ("full", "tmpfs"):
                    hows = FAULTS[name](scratch, rng, options.cycles)
                else:
                    for _ in range(options.cycles):
                        how = FAULTS[name](scratch, rng)
                        hows[how] = hows.get(how, 0) + 1
            except (Failed, OSError) as e:
                wrong = e
                print("%s: %s" % (name, e))
                with open(scratch + "/run/log", errors="replace") as f:
                    print("".join(f.readlines()[-30:]))
        print("# %s: %d cycles in %.0f s%s: %s"
              % (name, options.cycles, time.monotonic() - began,
                 "".join(", %d %s" % (hows[h], h) for h in hows if h),
                 "FAILED" if wrong else "0 lost, 0 wrong"), flush=True)
        bad += bool(wrong)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
