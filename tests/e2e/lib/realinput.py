#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Debian's package index as the data of a store.

    apt-cache dumpavail | realinput.py PORT load|read|delete|reread|clear

A stanza is a value, "package version architecture" its key. load sets all of
them (again and again where the store does not answer, so that it may be
killed meanwhile), read compares each one byte for byte, delete removes every
third and compares what comes back, reread checks that those are gone and the
others are not, clear deletes what is there. 4 processes with 8 connections
each do it.
"""

import http.client
import json
import multiprocessing
import sys
import threading
import time
import urllib.parse

PROCESSES = 4
THREADS = 8
PATIENCE_S = 120


def stanzas():
    for text in sys.stdin.read().split("\n\n"):
        if not text.strip():
            continue
        fields = {}
        for line in text.split("\n"):
            if line[:1] not in (" ", "\t") and ": " in line:
                name, value = line.split(": ", 1)
                fields[name] = value
        yield ("%s %s %s" % (fields["Package"], fields["Version"],
                             fields["Architecture"]), text)


class Client(threading.Thread):
    def __init__(self, port, what, entries):
        super().__init__()
        self.port = port
        self.what = what
        self.entries = entries  # (number, key, value)
        self.connection = None
        self.retries = 0
        self.wrong = []

    def call(self, method, target, body=None):
        """Status and body; tries until there is an answer."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                if not self.connection:
                    self.connection = http.client.HTTPConnection(
                        "127.0.0.1", self.port, timeout=60)
                self.connection.request(method, target, body)
                answer = self.connection.getresponse()
                text = answer.read()
                if answer.status < 500 or self.what != "load":
                    return answer.status, text
            except (OSError, http.client.HTTPException):
                self.connection.close()
                self.connection = None
                if self.what != "load":
                    return None, b"no answer"
            if time.monotonic() > end:
                return None, b"no answer"
            self.retries += 1
            time.sleep(0.02)

    def one(self, number, key, value):
        query = "?key=" + urllib.parse.quote_plus(key)
        if self.what == "load":
            body = json.dumps({"key": key, "value": value},
                              ensure_ascii=False)
            wanted = 200, b""
            got = self.call("POST", "/set", body.encode())
        elif self.what == "delete":
            if number % 3:
                return
            wanted = 200, value.encode()
            got = self.call("DELETE", "/del" + query)
        elif self.what == "clear":
            got = self.call("DELETE", "/del" + query)
            wanted = (404, got[1]) if got[0] == 404 else (200, value.encode())
        else:
            wanted = 200, value.encode()
            got = self.call("GET", "/get" + query)
            if self.what == "reread" and number % 3 == 0:
                wanted, got = 404, got[0]
        if got != wanted:
            self.wrong.append("%s %s: %.300r" % (self.what, key, got))

    def run(self):
        for entry in self.entries:
            self.one(*entry)
            if len(self.wrong) > 5:
                break


def work(port, what, entries, queue):
    clients = [Client(port, what, entries[i::THREADS])
               for i in range(THREADS)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    queue.put(([w for c in clients for w in c.wrong],
               sum(c.retries for c in clients)))


def main(port, what):
    sys.stdin.reconfigure(encoding="utf-8")
    entries = [(i, key, value)
               for i, (key, value) in enumerate(stanzas())]
    began = time.monotonic()
    queue = multiprocessing.Queue()
    workers = [multiprocessing.Process(
        target=work, args=(int(port), what, entries[i::PROCESSES], queue))
        for i in range(PROCESSES)]
    for w in workers:
        w.start()
    results = [queue.get() for _ in workers]
    for w in workers:
        w.join()
    wrong = [w for r in results for w in r[0]]
    for w in wrong[:20]:
        print(w)
    seconds = time.monotonic() - began
    print("# %s: %d stanzas, %d bytes, %d clients, %.1f s (%.0f/s), "
          "%d tried again, %d wrong"
          % (what, len(entries), sum(len(e[2].encode()) for e in entries),
             PROCESSES * THREADS, seconds, len(entries) / seconds,
             sum(r[1] for r in results), len(wrong)))
    return 1 if wrong or not entries else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
