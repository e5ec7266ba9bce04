#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Many clients at once, through whatever befalls the store.

    hammer.py PORT SECONDS [CLIENTS [KEYS]]

Each client has so many keys of its own and always knows what they may hold: after an
answered write one value, after one that failed under way the old or the new
one. Every answer is held against that, and in the end every key. Failures
(no connection, 5xx) are counted and borne; a wrong answer ends with exit
status 1.
"""

import http.client
import json
import random
import sys
import threading
import time

PATIENCE_S = 60  # for the reading in the end


class Wrong(Exception):
    pass


class Client(threading.Thread):
    def __init__(self, number, port, end, keys):
        super().__init__()
        self.number = number
        self.port = port
        self.end = end
        self.random = random.Random(number)
        self.connection = None
        # What each key may hold; None: nothing.
        self.may = {"%d/%d" % (number, i): {None} for i in range(keys)}
        self.done = self.failed = 0
        self.wrong = None

    def call(self, method, target, body=None):
        """Status and body, or None if it failed."""
        try:
            if not self.connection:
                self.connection = http.client.HTTPConnection(
                    "127.0.0.1", self.port, timeout=30)
            self.connection.request(method, target, body)
            answer = self.connection.getresponse()
            text = answer.read()
            if answer.status < 500:
                self.done += 1
                return answer.status, text
        except (OSError, http.client.HTTPException):
            if self.connection:
                self.connection.close()
                self.connection = None
        self.failed += 1
        time.sleep(0.02)
        return None

    def expect(self, key, what, value):
        if value not in self.may[key]:
            raise Wrong("%s %s: %.60r; it may hold %.200r"
                        % (what, key, value, self.may[key]))

    def get(self, key):
        answer = self.call("GET", "/get?key=" + key)
        if not answer:
            return False
        value = {200: answer[1], 404: None}[answer[0]]
        self.expect(key, "get", value)
        self.may[key] = {value}
        return True

    def set(self, key):
        value = "%d of %s %s" % (self.done, key, "x" * int(
            self.random.paretovariate(0.7) % 3000))
        answer = self.call("POST", "/set",
                           json.dumps({"key": key, "value": value}))
        if not answer:
            self.may[key].add(value.encode())
        elif answer[0] == 200:
            self.may[key] = {value.encode()}
        else:
            raise Wrong("set %s: %s" % (key, answer))

    def delete(self, key):
        answer = self.call("DELETE", "/del?key=" + key)
        if not answer:
            self.may[key].add(None)
            return
        self.expect(key, "del", {200: answer[1], 404: None}[answer[0]])
        self.may[key] = {None}

    def run(self):
        try:
            while time.monotonic() < self.end:
                key = self.random.choice(list(self.may))
                self.random.choice([self.set, self.set, self.set, self.delete,
                                    self.get])(key)
            patience = time.monotonic() + PATIENCE_S
            for key in self.may:
                while not self.get(key):
                    if time.monotonic() > patience:
                        raise Wrong("get %s: never answered" % key)
        except Wrong as e:
            self.wrong = str(e)
        except KeyError as e:
            self.wrong = "unexpected status %s" % e


def main(port, seconds, count=16, keys=40):
    end = time.monotonic() + float(seconds)
    clients = [Client(i, int(port), end, int(keys)) for i in range(int(count))]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    for c in clients:
        if c.wrong:
            print("client %d: %s" % (c.number, c.wrong))
    done = sum(c.done for c in clients)
    print("# %d clients: %d requests answered, %d failed"
          % (len(clients), done, sum(c.failed for c in clients)))
    if not done:
        print("nothing was answered")
    return 0 if done and not any(c.wrong for c in clients) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
