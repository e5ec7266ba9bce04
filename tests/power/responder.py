# SPDX-License-Identifier: ISC
"""lsmkv.fcgi on a unix socket, without a web server."""

import os
import socket
import subprocess
import time

SLOW = float(os.environ.get("LSMKV_SLOW", "1"))
START_S = 20 * SLOW


def program(name):
    top = os.path.dirname(os.path.abspath(__file__)) + "/../.."
    build = os.environ.get("LSMKV_BUILDDIR", top + "/build")
    return os.path.join(build, name)


class Responder:
    def __init__(self, data, run, *options):
        """run: a directory for its socket and its log."""
        os.makedirs(run, exist_ok=True)
        self.data = data
        self.socket = run + "/socket"
        self.log = run + "/log"
        self.options = options
        self.process = None

    def start(self):
        """Does not wait until it answers."""
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        environment = {k: v for k, v in os.environ.items()
                       if not k.startswith("LSMKV_")}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [program("lsmkv.fcgi"), "--data-dir", self.data, "--socket",
                 self.socket, *self.options],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=environment)

    def wait(self):
        """Until it takes connections; False if it ended instead."""
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            with socket.socket(socket.AF_UNIX) as s:
                try:
                    s.connect(self.socket)
                    return True
                except OSError:
                    time.sleep(0.001)
        return False

    def kill(self):
        """Nothing, if it does not run."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self):
        """As an operator does; its exit status."""
        self.process.terminate()
        try:
            return self.process.wait(START_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -1

    def said(self):
        with open(self.log, errors="replace") as f:
            return "".join(f.readlines()[-30:])


def verified(data):
    """None, or what lsmkv verify has found."""
    done = subprocess.run([program("lsmkv"), "verify", data],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    return None if done.returncode == 0 else done.stdout.decode()
