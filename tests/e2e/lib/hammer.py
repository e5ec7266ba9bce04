#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Many clients at once, through whatever befalls the store.

    hammer.py PORT SECONDS [CLIENTS [KEYS]]

Each client has so many keys of its own and always knows what they may hold:
after an answered write one value, after one that failed under way the old or
the new one, after one that was refused the old one. Every answer is held
against that, and in the end every key. Of two writes, the later one must have
the greater version. Failures (no connection, 5xx) are counted and borne; a
wrong answer ends with exit status 1. SIGUSR1: enough, before SECONDS are over.
"""

import collections
import http.client
import json
import random
import signal
import sys
import threading
import time

import client

PATIENCE_S = 60  # for the reading in the end
PROBLEM = "application/problem+json"


class Wrong(Exception):
    pass


class Http:
    """A web server on 127.0.0.1; one kept connection."""

    def __init__(self, port, timeout=30):
        self.port = port
        self.timeout = timeout
        self.connection = None

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def call(self, method, target, body=None):
        """The answer, or an OSError or HTTPException."""
        if not self.connection:
            self.connection = http.client.HTTPConnection(
                "127.0.0.1", self.port, timeout=self.timeout)
        self.connection.request(method, target, body)
        return client.Answer(self.connection.getresponse())


class Newest:
    """The greatest version that any client was told of."""

    def __init__(self):
        self.lock = threading.Lock()
        self.version = 0

    def add(self, version):
        with self.lock:
            self.version = max(self.version, version)


class Power:
    """Whether answers count. While the disk is being switched off, a sync
    under way may succeed and yet be lost: nothing that is answered then is
    sure. A request that comes later must not succeed."""

    ON, GOING, OFF = range(3)

    def __init__(self):
        self.state = self.ON


def problem(answer):
    """Its code; "" if there was no answer, the status if it is not ours."""
    if not answer:
        return ""
    if answer.headers.get("content-type") != PROBLEM:
        return str(answer.status)
    return json.loads(answer.body)["code"]


def refused(answer):
    """The store itself says that nothing was written."""
    return (answer.status in (503, 507)
            and answer.headers.get("content-type") == PROBLEM)


class Client:
    """newest, power: of all clients of that store; they outlive crashes, as
    this does. sizes: the longest value."""

    def __init__(self, number, transport, keys, newest, power=None,
                 sizes=3000):
        self.number = number
        self.transport = transport
        self.random = random.Random(number)
        # What each key may hold; None: nothing.
        self.may = {"%d/%d" % (number, i): {None} for i in range(keys)}
        # The last requests for each key, to be told when one is wrong.
        self.trail = {key: collections.deque(maxlen=6) for key in self.may}
        # Keys with a write of which the store does not know how it ended:
        # what it holds is seen after a restart only.
        self.unknown = set()
        self.newest = newest
        self.power = power or Power()
        self.sizes = sizes
        self.made = 0  # values
        self.done = self.written = self.failed = 0
        self.codes = {}  # of failures: how many of each; "": no answer
        self.wrong = None

    def call(self, key, method, target, body=None):
        """The answer, or None if there was none."""
        try:
            answer = self.transport.call(method, target, body)
            status = answer.status
        except (OSError, http.client.HTTPException):
            self.transport.close()
            answer, status = None, 0
        said = answer.headers.get("etag") or answer.body if answer else None
        self.trail[key].append("%s %.40s: %d %.200s"
                               % (method, body or "", status, said))
        if 0 < status < 500:
            self.done += 1
        else:
            self.failed += 1
            code = problem(answer)
            self.codes[code] = self.codes.get(code, 0) + 1
            time.sleep(0.02 if status else 0.002)
        return answer

    def expect(self, key, what, value):
        if value not in self.may[key]:
            raise Wrong("%s %s: %.60r; it may hold %.200r. Before that:\n    %s"
                        % (what, key, value, self.may[key],
                           "\n    ".join(self.trail[key])))

    def held(self, what, key, answer):
        """What a 200 or 404 says that the key holds."""
        if answer.status not in (200, 404):
            raise Wrong("%s %s: %d %.200r" % (what, key, answer.status,
                                              answer.body))
        value = answer.body if answer.status == 200 else None
        self.expect(key, what, value)
        return value

    def get(self, key):
        answer = self.call(key, "GET", "/get?key=" + key)
        if not answer or answer.status >= 500:
            return False
        value = self.held("get", key, answer)
        if self.power.state == Power.ON and key not in self.unknown:
            self.may[key] = {value}
        return True

    def restarted(self):
        self.unknown.clear()

    def unsure(self, key, answer, value):
        """A write was not answered with 200."""
        if answer and refused(answer):
            return
        if answer and answer.status == 500:
            self.unknown.add(key)
        self.may[key].add(value)

    def wrote(self, what, key, value, power):
        """A write was answered with 200; the power then and now."""
        if power == Power.OFF:
            raise Wrong("%s %s was acknowledged without power. Before:\n    %s"
                        % (what, key, "\n    ".join(self.trail[key])))
        if self.power.state == Power.ON:
            self.may[key] = {value}
            self.written += 1
        else:
            self.may[key].add(value)

    def set(self, key):
        self.made += 1
        value = "%d of %s %s" % (self.made, key, "x" * int(
            self.random.paretovariate(0.7) % self.sizes))
        before, power = self.newest.version, self.power.state
        answer = self.call(key, "POST", "/set",
                           json.dumps({"key": key, "value": value}))
        if answer and answer.status == 200:
            version = int(answer.headers["etag"].strip('"'))
            if version <= before:
                raise Wrong("set %s: version %d after %d"
                            % (key, version, before))
            self.wrote("set", key, value.encode(), power)
            if self.power.state == Power.ON:
                self.newest.add(version)
        elif not answer or answer.status >= 500:
            self.unsure(key, answer, value.encode())
        else:
            raise Wrong("set %s: %d %.200r" % (key, answer.status,
                                               answer.body))

    def delete(self, key):
        power = self.power.state
        answer = self.call(key, "DELETE", "/del?key=" + key)
        if answer and answer.status < 500:
            if self.held("del", key, answer) is not None:
                self.wrote("del", key, None, power)
        else:
            self.unsure(key, answer, None)

    def work(self, going):
        """Random requests while going() is true."""
        keys = list(self.may)
        deeds = [self.set, self.set, self.set, self.delete, self.get]
        self.guard(lambda: self.work_on(keys, deeds, going))

    def work_on(self, keys, deeds, going):
        while going():
            self.random.choice(deeds)(self.random.choice(keys))

    def check(self, patience=PATIENCE_S):
        """Every key."""
        self.guard(lambda: self.check_all(time.monotonic() + patience))

    def check_all(self, end):
        for key in self.may:
            while not self.get(key):
                if time.monotonic() > end:
                    raise Wrong("get %s: never answered" % key)

    def guard(self, deed):
        if self.wrong:
            return
        try:
            deed()
        except Wrong as e:
            self.wrong = str(e)
        except Exception as e:  # a mistake of the test must not pass
            self.wrong = "%s: %s" % (type(e).__name__, e)
            raise


def at_once(clients, deed):
    """deed(client) of each in a thread of its own; returns the threads."""
    threads = [threading.Thread(target=deed, args=(c,)) for c in clients]
    for t in threads:
        t.start()
    return threads


def report(clients):
    """Prints what went wrong and how much was done; True if all is well."""
    for c in clients:
        if c.wrong:
            print("client %d: %s" % (c.number, c.wrong))
    done = sum(c.done for c in clients)
    print("# %d clients: %d requests answered, %d failed"
          % (len(clients), done, sum(c.failed for c in clients)))
    if not done:
        print("nothing was answered")
    return done and not any(c.wrong for c in clients)


def main(port, seconds, count=16, keys=40):
    end = time.monotonic() + float(seconds)
    ended = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: ended.set())
    newest = Newest()
    clients = [Client(i, Http(int(port)), int(keys), newest)
               for i in range(int(count))]

    def deed(c):
        c.work(lambda: time.monotonic() < end and not ended.is_set())
        c.check()

    for t in at_once(clients, deed):
        t.join()
    return 0 if report(clients) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
