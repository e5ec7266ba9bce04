# SPDX-License-Identifier: ISC
"""A web server's end of the FastCGI socket: requests without a web server.

One kept connection, one request at a time. Its call() is that of
hammer.Http.
"""

import http.client
import io
import socket
import struct

import client

BEGIN, END, PARAMS, STDIN, STDOUT, STDERR = 1, 3, 4, 5, 6, 7
RECORD_MAX = 0xffff


def record(kind, content):
    return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content


def stream(kind, content):
    """The content in records, and the empty one that ends it."""
    out = []
    for at in range(0, len(content), RECORD_MAX):
        out.append(record(kind, content[at:at + RECORD_MAX]))
    return b"".join(out) + record(kind, b"")


def pair(name, value):
    out = b""
    for text in name, value:
        n = len(text)
        out += struct.pack("!B", n) if n < 128 else struct.pack(
            "!I", n | 1 << 31)
    return out + name + value


class Fastcgi:
    def __init__(self, path, timeout=30):
        self.path = path
        self.timeout = timeout
        self.socket = None
        self.file = None

    def close(self):
        if self.socket:
            self.file.close()
            self.socket.close()
            self.socket = None

    def read(self, n):
        data = self.file.read(n)
        if len(data) != n:
            raise ConnectionError("the responder has gone")
        return data

    def call(self, method, target, body=None):
        """The answer, or an OSError or HTTPException."""
        if not self.socket:
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(self.timeout)
            try:
                s.connect(self.path)
            except OSError:
                s.close()
                raise
            self.socket = s
            self.file = s.makefile("rb")
        path, _, query = client.as_bytes(target).partition(b"?")
        body = client.as_bytes(body or b"")
        params = b"".join(pair(*p) for p in (
            (b"REQUEST_METHOD", client.as_bytes(method)),
            (b"SCRIPT_NAME", path),
            (b"QUERY_STRING", query),
            (b"CONTENT_LENGTH", b"%d" % len(body)),
            (b"SERVER_PROTOCOL", b"HTTP/1.1"),
            (b"HTTP_HOST", b"127.0.0.1")))
        # Role responder, and the connection is kept.
        self.socket.sendall(record(BEGIN, struct.pack("!HB5x", 1, 1)) +
                            stream(PARAMS, params) + stream(STDIN, body))
        out = []
        while True:
            _, kind, _, length, padding = struct.unpack(
                "!BBHHBx", self.read(8))
            content = self.read(length + padding)[:length]
            if kind == STDOUT:
                out.append(content)
            elif kind == END:
                break
        text = b"".join(out)
        if not text.startswith(b"Status: "):
            raise http.client.BadStatusLine(repr(text[:40]))
        return client.read_answer(io.BufferedReader(io.BytesIO(
            b"HTTP/1.1 " + text[8:])), method)
