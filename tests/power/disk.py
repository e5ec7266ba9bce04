# SPDX-License-Identifier: ISC
"""File systems of our own, and the ways in which they fail.

All of it happens in namespaces of mounts and processes that are ours alone:
when the test ends, however it ends, its mounts, loop devices and processes go
with it.
"""

import fcntl
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

SKIPPED = 77  # exit status, as automake knows it
FS_IOC_SHUTDOWN = 0x8004587D
NOLOGFLUSH = 2
MIB = 1 << 20
SCRATCH = 1024 * MIB
SIZES = {"ext4": 64 * MIB, "xfs": 320 * MIB}  # xfs takes no less than 300


def skip(reason):
    print("skipped: " + reason)
    sys.exit(SKIPPED)


def alone():
    """Starts this program anew in namespaces of its own."""
    if os.environ.get("LSMKV_ALONE") == "1":
        del os.environ["LSMKV_ALONE"]
        return
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if os.geteuid() != 0:
        skip("needs root, for mounts of its own")
    for program in "unshare", "mount", "mkfs.ext4", "mkfs.xfs":
        if not shutil.which(program):
            skip("needs %s (apt-get install util-linux e2fsprogs xfsprogs)"
                 % program)
    inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child",
              "--mount-proc"]
    if subprocess.run(inside + ["true"], stderr=subprocess.DEVNULL,
                      check=False).returncode:
        skip("the kernel allows no namespaces here")
    if not os.path.exists("/dev/loop-control"):
        skip("needs loop devices")
    os.environ["LSMKV_ALONE"] = "1"
    sys.stdout.flush()
    os.execvp(inside[0], inside + [sys.executable] + sys.argv)


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise OSError("%s: %s" % (" ".join(command), done.stdout.decode()))
    return done.stdout.decode()


class Mount:
    """Something that is mounted on path."""

    def __init__(self, path):
        self.path = path
        os.makedirs(path, exist_ok=True)

    def unmount(self, patience=20):
        """Processes that have just been killed may hold it for a moment."""
        end = time.monotonic() + patience
        while True:
            try:
                return run("umount", self.path)
            except OSError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.002)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.unmount()
        except OSError:
            subprocess.run(["umount", "-l", self.path], check=False,
                           stderr=subprocess.DEVNULL)


class Tmpfs(Mount):
    def __init__(self, path, size):
        super().__init__(path)
        run("mount", "-t", "tmpfs", "-o", "size=%d" % size, "none", path)

    def resize(self, size):
        run("mount", "-o", "remount,size=%d" % size, self.path)


class Disk(Mount):
    """A file system in a file."""

    def __init__(self, kind, image, path, size=None, options=()):
        super().__init__(path)
        self.kind = kind
        self.image = image
        with open(image, "wb") as f:
            f.truncate(size or SIZES[kind])
        run("mkfs." + kind, "-q", *options,
            *(["-F", "-m0", "-b4096"] if kind == "ext4" else []), image)
        self.mount()

    def allocate_journal(self):
        """So that it is data that finds no room below, and not the journal
        of ext4."""
        blocks = run("debugfs", "-R", "blocks <8>", self.image)
        with open(self.image, "r+b") as f:
            for block in re.findall(r"^[0-9 ]+$", blocks, re.M)[0].split():
                os.posix_fallocate(f.fileno(), 4096 * int(block), 4096)

    def mount(self):
        # What a tmpfs below would not hold is not to be given back to it.
        run("mount", "-o", "loop,nodiscard", "-t", self.kind, self.image,
            self.path)

    def power_off(self):
        """From now on, nothing more reaches the image: what is not on it is
        lost."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(fd)

    def remount(self, options):
        run("mount", "-o", "remount," + options, self.path)


class Scratch:
    """A directory in memory, for disk images, sockets and logs."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(
            prefix="lsmkv-power.", dir=os.environ.get("LSMKV_TESTS_TMP"))
        self.tmpfs = Tmpfs(self.path, SCRATCH)
        return self.path

    def __exit__(self, *more):
        self.tmpfs.__exit__(*more)
        os.rmdir(self.path)
