# SPDX-License-Identifier: ISC
"""Requests as they are on the wire, to a web server or to plain CGI.

http.client refuses much of what the tests want to send (raw bytes, no length,
half a body), so requests are put together here; it only reads the answers.
"""

import http.client
import io
import os
import socket
import subprocess
import urllib.parse

TIMEOUT_S = 60


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {}  # names in lower case; a second one is appended
        for name, value in response.getheaders():
            name = name.lower()
            if name in self.headers:
                value = self.headers[name] + ", " + value
            self.headers[name] = value
        self.body = response.read()


class Reader:
    """What http.client.HTTPResponse wants to be given as a socket."""

    def __init__(self, file):
        self.file = file

    def makefile(self, _mode):
        return self.file


def read_answer(file, method):
    response = http.client.HTTPResponse(Reader(file), method=method)
    response.begin()
    return Answer(response)


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("utf-8")


class Server:
    """A web server on 127.0.0.1; a connection for each request."""

    def __init__(self, name, port):
        self.name = name
        self.port = port

    def send(self, method, target, body=None, headers=(), chunked=False,
             length=None):
        """length: what Content-Length says instead of the truth, or "" for
        none at all; a body shorter than it is followed by the end."""
        lines = [b"%s %s HTTP/1.1" % (as_bytes(method), as_bytes(target))]
        names = {name.lower() for name, _ in headers}
        if "host" not in names:
            lines.append(b"Host: 127.0.0.1:%d" % self.port)
        if "connection" not in names:
            lines.append(b"Connection: close")
        lines += [as_bytes(n) + b": " + as_bytes(v) for n, v in headers]
        if chunked:
            lines.append(b"Transfer-Encoding: chunked")
            middle = len(body) // 2
            body = b"".join(
                b"%x\r\n%s\r\n" % (len(part), part)
                for part in (body[:middle], body[middle:]) if part)
            body += b"0\r\n\r\n"
        elif length is not None:
            if length != "":
                lines.append(b"Content-Length: " + as_bytes(str(length)))
        elif body is not None:
            lines.append(b"Content-Length: %d" % len(body))
        with socket.create_connection(("127.0.0.1", self.port),
                                      TIMEOUT_S) as s:
            try:
                s.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + (body or b""))
                if length not in (None, "") and not chunked:
                    s.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused from the head; the answer may be there
            with s.makefile("rb") as file:
                return read_answer(file, method)


class Cgi:
    """The program itself, started for each request as a CGI server does."""

    name = "cgi"

    def __init__(self, program):
        self.program = program

    def send(self, method, target, body=None, headers=(), chunked=False,
             length=None):
        target = as_bytes(target)
        path, _, query = target.partition(b"?")
        env = dict(os.environb)
        env.update({
            b"GATEWAY_INTERFACE": b"CGI/1.1",
            b"SERVER_PROTOCOL": b"HTTP/1.1",
            b"REQUEST_METHOD": as_bytes(method),
            b"SCRIPT_NAME": urllib.parse.unquote_to_bytes(path),
            b"QUERY_STRING": query,
            b"HTTP_HOST": b"127.0.0.1",
        })
        # A server that takes a chunked body tells its length in the end.
        if length is None and body is not None:
            length = len(body)
        if length not in (None, ""):
            env[b"CONTENT_LENGTH"] = as_bytes(str(length))
        for name, value in headers:
            name = as_bytes(name).upper().replace(b"-", b"_")
            env[b"HTTP_" + name] = as_bytes(value)
        done = subprocess.run([self.program], env=env, input=body or b"",
                              stdout=subprocess.PIPE, timeout=TIMEOUT_S,
                              check=False)
        if done.returncode != 0:
            raise AssertionError("exit status %d" % done.returncode)
        status, _, rest = done.stdout.partition(b"\r\n")
        if not status.startswith(b"Status: "):
            raise AssertionError("begins with %r" % status)
        return read_answer(io.BufferedReader(io.BytesIO(
            b"HTTP/1.1 " + status[8:] + b"\r\n" + rest)), method)


def connect(name, where):
    """lighttpd, apache, nginx and a port, or cgi and the program."""
    return Cgi(where) if name == "cgi" else Server(name, int(where))
