#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Histories, made and judged.

    lin.py http PORT WEB_PID ROUNDS [SEED]
    lin.py engine PROGRAM DIR ROUNDS [SEED]

http: 8 clients set, get and delete 3 keys through lighttpd, process WEB_PID,
whose responder is meanwhile killed or stands still for longer than clients
wait. What was not answered, or with 5xx, is open: it may have happened, may
still happen, or never. (What the store itself refused has not happened.)

engine: threads of a process get, set, delete and compare-and-set on the
engine; the process is killed meanwhile (cas.c).

Each round is a history of its own, checked by checker.py for each key.
"""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, HERE + "/../e2e/lib", HERE + "/../soak"]

import checker
import hammer
import soak
from checker import DEL, GET, OPEN, SET, Op

CLIENTS = 8
KEYS = 3
IMPATIENT_S = 0.3  # every second client waits no longer
PAUSE_S = 0.004    # of a client, at most: histories need not be long
ENGINE_KILLS = 8
TELL_S = 10


class Client:
    def __init__(self, number, port, seed):
        self.name = "client %d" % number
        self.random = random.Random(seed)
        self.transport = hammer.Http(port, 30 if number % 2 else IMPATIENT_S)
        self.ops = []
        self.wrong = None

    def request(self, op):
        if op.kind == SET:
            return self.transport.call("POST", "/set", json.dumps(
                {"key": op.key, "value": op.value}))
        if op.kind == GET:
            return self.transport.call("GET", "/get?key=" + op.key)
        return self.transport.call("DELETE", "/del?key=" + op.key)

    def one(self, keys, value):
        op = Op(self.random.choice([SET, SET, GET, GET, DEL]),
                self.random.choice(keys), time.monotonic(), OPEN,
                client=self.name)
        if op.kind == SET:
            op.value = value
        try:
            answer = self.request(op)
        except (OSError, http.client.HTTPException):
            self.transport.close()
            answer = None
        ret = time.monotonic()
        if answer and hammer.refused(answer):
            return
        self.ops.append(op)
        if not answer or answer.status >= 500:
            time.sleep(0.01)
            return
        if answer.status not in (200, 404) or (
                op.kind == SET and answer.status == 404):
            raise hammer.Wrong("%s: %d %s" % (op, answer.status, answer.body))
        op.ret = ret
        if answer.status == 200:
            op.version = int(answer.headers["etag"].strip('"'))
            if op.kind != SET:
                op.result = answer.body.decode()

    def work(self, keys, going):
        n = 0
        try:
            while going():
                n += 1
                value = "%s/%d" % (self.name.split(" ")[1], n)
                self.one(keys, value)
                time.sleep(self.random.uniform(0, PAUSE_S))
        except Exception as e:
            self.wrong = "%s: %s" % (type(e).__name__, e)


class Figures:
    def __init__(self):
        self.began = self.told = time.monotonic()
        self.rounds = self.ops = self.open = self.kills = self.configs = 0

    def judge(self, ops, rounds, kills):
        """Raises checker.Violation."""
        self.configs += checker.check(ops)
        self.rounds += 1
        self.kills += kills
        self.ops += len(ops)
        self.open += sum(op.ret == OPEN for op in ops)
        if time.monotonic() > self.told + TELL_S:
            self.told = time.monotonic()
            print("  %d of %d histories, %d operations"
                  % (self.rounds, rounds, self.ops), flush=True)

    def report(self, what):
        print("# %s: %d histories, %d operations, %d of them open, %d kills"
              " and stops, %d states searched, %.0f s: all"
              " linearizable"
              % (what, self.rounds, self.ops, self.open, self.kills,
                 self.configs, time.monotonic() - self.began), flush=True)


def stand_still(pid, seconds):
    try:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass


def http_round(number, port, killer, rng):
    """The operations of a history, and how often the responder was killed
    or stood still."""
    clients = [Client(i, port, rng.random()) for i in range(CLIENTS)]
    keys = ["lin/%d/%d" % (number, i) for i in range(KEYS)]
    going = [True]
    threads = hammer.at_once(clients, lambda c: c.work(
        keys, lambda: going[0]))
    hits = 0
    try:
        for _ in range(rng.randrange(1, 4)):
            time.sleep(rng.uniform(0.05, 0.4))
            pid = killer.responder()
            if rng.random() < 0.7:
                soak.kill(pid)
            else:
                stand_still(pid, rng.uniform(0.2, 2 * IMPATIENT_S))
            hits += 1
        # What survived is read, too.
        killer.responder()
        time.sleep(rng.uniform(0.2, 0.5))
    finally:
        going[0] = False
        for t in threads:
            t.join()
    for c in clients:
        c.transport.close()
        if c.wrong:
            raise checker.Violation("%s: %s" % (c.name, c.wrong))
    return [op for c in clients for op in c.ops], hits


def over_http(port, web, rounds, rng):
    figures = Figures()
    killer = soak.Killer(int(web), rng)
    for number in range(int(rounds)):
        ops, hits = http_round(number, int(port), killer, rng)
        figures.judge(ops, int(rounds), hits)
    return figures


def on_engine(program, path, rounds, rng):
    figures = Figures()
    for number in range(int(rounds)):
        done = subprocess.run(
            [program, "%s/%d" % (path, number), str(ENGINE_KILLS),
             str(rng.randrange(1 << 31))],
            stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise checker.Violation("%s ended with %d"
                                    % (program, done.returncode))
        figures.judge(checker.load(done.stdout.splitlines()), int(rounds),
                      ENGINE_KILLS)
    return figures


def main(what, *args):
    seed = int(args[3]) if len(args) > 3 else random.randrange(1 << 31)
    print("# %s: seed %d" % (what, seed), flush=True)
    make = {"http": over_http, "engine": on_engine}[what]
    try:
        make(*args[:3], random.Random(seed)).report(what)
    except (checker.Violation, hammer.Wrong) as e:
        print("%s: %s" % (what, e))
        print("# %s: FAILED" % what)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
