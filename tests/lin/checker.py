# SPDX-License-Identifier: ISC
"""Is a history of operations on one key linearizable?

The search of Wing and Gong: take any operation that may come first, see what
it does to the state, go on with the rest; with the memory of Lowe: what was
tried before is not tried again. State is the write whose value the key holds.
Each value is written at most once, so that a read tells which write it saw.

What makes long histories quick to check:

- Operations are sorted by their call; what has been taken is a position, up
  to which all were, and a few beyond it.
- A read that the state fits is taken at once: it hinders nothing.
- Versions only grow. A write with a lesser version than one before it is in
  the wrong place.
- An open write (no answer, so it happened at some time after its call, or
  never) that somebody has seen happened before the reader returned; one that
  nobody has seen may as well never have happened, unless a conflict tells of
  a version that nobody else knows. What stays open are deletes without an
  answer: of those that may come next any will do, so only the first is tried.
"""

import collections
import copy
import json

OPEN = float("inf")
ABSENT = -1

SET, GET, DEL, CAS = "set", "get", "del", "cas"


class Op:
    """kind: SET value; GET; DEL; CAS: value (None deletes) if the version is
    `expect` (0: the key is absent). call, ret: times; ret OPEN: no answer.

    Answers: result, what GET and DEL found, None: nothing. version, of the
    value written or found, None if not known. conflict, of CAS: None if it
    was done, else the version that it found (0: absent)."""

    def __init__(self, kind, key, call, ret, value=None, result=None,
                 version=None, expect=None, conflict=None, client=None):
        self.kind = kind
        self.key = key
        self.call = call
        self.ret = ret
        self.value = value
        self.result = result
        self.version = version
        self.expect = expect
        self.conflict = conflict
        self.client = client

    def __str__(self):
        return "%.6f..%s %s: " % (
            self.call, "?" if self.ret == OPEN else "%.6f" % self.ret,
            self.client) + " ".join(
                "%s=%s" % (k, v) for k, v in (
                    (self.kind, self.key), ("value", self.value),
                    ("expect", self.expect), ("result", self.result),
                    ("conflict", self.conflict), ("version", self.version))
                if v is not None)

    def writes(self):
        """A value, if it was or may have been done."""
        return self.kind in (SET, CAS) and self.value is not None and (
            self.conflict is None)

    def changes_nothing(self):
        return (self.kind == GET or self.conflict is not None
                or self.kind == DEL and self.ret != OPEN
                and self.result is None)


class Violation(Exception):
    pass


def by_key(ops):
    keys = collections.defaultdict(list)
    for op in ops:
        keys[op.key].append(op)
    return keys


def load(lines):
    """Operations from lines of JSON, as their fields are called here; null
    as ret is OPEN."""
    ops = []
    for line in lines:
        fields = json.loads(line)
        if fields["ret"] is None:
            fields["ret"] = OPEN
        ops.append(Op(**fields))
    return ops


def check_versions(ops):
    """Of all keys: a write that began after another had returned has the
    greater version; no two have the same."""
    written = [op for op in ops if op.version is not None and op.ret != OPEN
               and (op.kind == SET or op.kind == CAS and op.conflict is None)]
    if len({op.version for op in written}) != len(written):
        raise Violation("two writes have the same version")
    returned = collections.deque(sorted(written, key=lambda op: op.ret))
    last = None
    for op in sorted(written, key=lambda op: op.call):
        while returned and returned[0].ret < op.call:
            before = returned.popleft()
            if not last or before.version > last.version:
                last = before
        if last and last.version >= op.version:
            raise Violation("a later write has the lesser version:\n%s\n%s"
                            % (last, op))


class Register:
    """One key's history, made ready for the search."""

    def __init__(self, ops):
        ops = [op for op in ops if op.ret != OPEN or op.kind != GET]
        self.writer = {}   # value -> Op
        self.versions = {}  # Op -> version, also of open ones
        for op in ops:
            if op.writes():
                if op.value in self.writer:
                    raise ValueError("value %r is written twice" % op.value)
                self.writer[op.value] = op
                if op.version is not None:
                    self.versions[op] = op.version
        ends = {}  # open write -> return of the first that saw it
        for op in ops:
            if op.kind in (GET, DEL) and op.result is not None:
                self.saw(op, ends)
        # Versions that conflicts tell of, and nothing else: of open writes
        # that nobody has read.
        known = set(self.versions.values()) | {0, None}
        self.strange = {op.conflict for op in ops} - known
        self.hidden = []    # such writes, if there are such versions
        self.optional = []  # open deletes
        self.clones = {}    # (hidden write, version) -> Op with that version
        done = []
        for op in sorted(ops, key=lambda op: op.call):
            if op.ret != OPEN:
                done.append((op, op.ret))
            elif op in ends:
                done.append((op, ends[op]))
            elif not op.writes():
                self.optional.append(op)
            elif self.strange:
                self.hidden.append(op)
        self.ops = [op for op, _ in done]
        self.rets = [ret for _, ret in done]

    def saw(self, op, ends):
        writer = self.writer.get(op.result)
        if not writer:
            raise Violation("nobody has written that:\n%s" % op)
        if op.version is not None:
            known = self.versions.setdefault(writer, op.version)
            if known != op.version:
                raise Violation("it had version %d:\n%s\n%s"
                                % (known, writer, op))
        if writer.ret == OPEN:
            if op.ret < writer.call:
                raise Violation("read before it was written:\n%s\n%s"
                                % (op, writer))
            ends[writer] = min(op.ret, ends.get(writer, OPEN))

    def version_of(self, state):
        return 0 if state == ABSENT else self.versions.get(state)

    def apply(self, op, state):
        """The state after op; None if op cannot come here."""
        if op.kind == SET:
            return op
        if op.kind == GET or op.kind == DEL and op.ret != OPEN:
            holds = None if state == ABSENT else state.value
            if holds != op.result:
                return None
            return state if op.kind == GET else ABSENT
        if op.kind == DEL:
            return ABSENT
        version = self.version_of(state)
        if op.conflict is not None:
            return state if version in (op.conflict, None) and (
                op.conflict != op.expect) else None
        # A write of which no version is known may be the one expected.
        if version not in (op.expect, None):
            return None
        return op if op.value is not None else ABSENT

    def steps(self, config):
        """What may come next: of each the config after it."""
        position, beyond, used, state, top = config
        end = OPEN
        changes, strange = [], set()
        i = position
        while i < len(self.ops):
            if i not in beyond:
                op = self.ops[i]
                if op.call > end:
                    break
                end = min(end, self.rets[i])
                if op.changes_nothing():
                    if self.apply(op, state) is not None:
                        return [self.taken(config, i, state, top)]
                    if op.conflict in self.strange:
                        strange.add(op.conflict)
                else:
                    changes.append(i)
            i += 1
        out = []
        for i in sorted(changes, key=self.guess):
            op = self.ops[i]
            after = self.apply(op, state)
            version = self.versions.get(op, OPEN)
            if after is not None and version > top:
                out.append(self.taken(config, i, after,
                                      top if version == OPEN else version))
        tried = set()
        for j, op in enumerate(self.optional):
            like = op.kind, op.expect
            if op.call > end or used >> j & 1 or like in tried:
                continue
            tried.add(like)
            if state != ABSENT and self.apply(op, state) is not None:
                out.append((position, beyond, used | 1 << j, ABSENT, top))
        for version in strange:
            out += self.reveal(config, version, end)
        return out

    def reveal(self, config, version, end):
        """A hidden write was what gave the key that version."""
        position, beyond, used, state, top = config
        out = []
        tried = set()
        for j, op in enumerate(self.hidden, len(self.optional)):
            like = op.kind, op.expect
            if op.call > end or used >> j & 1 or like in tried:
                continue
            tried.add(like)
            if version > top and self.apply(op, state) is not None:
                clone = self.clones.get((op, version))
                if not clone:
                    clone = copy.copy(op)
                    self.clones[op, version] = clone
                    self.versions[clone] = version
                out.append((position, beyond, used | 1 << j, clone, version))
        return out

    def guess(self, i):
        return self.versions.get(self.ops[i], OPEN), self.rets[i]

    @staticmethod
    def taken(config, i, state, top):
        position, beyond, used, _, _ = config
        if i != position:
            return position, beyond | {i}, used, state, top
        position += 1
        while position in beyond:
            beyond = beyond - {position}
            position += 1
        return position, beyond, used, state, top

    def check(self):
        """Returns how many configurations were looked at."""
        first = (0, frozenset(), 0, ABSENT, 0)
        stack = [iter([first])]
        seen = {first}
        farthest = first
        while stack:
            config = next(stack[-1], None)
            if config is None:
                stack.pop()
                continue
            if config[0] + len(config[1]) > farthest[0] + len(farthest[1]):
                farthest = config
            if config[0] == len(self.ops):
                return len(seen)
            fresh = [c for c in self.steps(config) if c not in seen]
            seen.update(fresh)
            stack.append(iter(fresh))
        if not self.ops:
            return 0
        self.fail(farthest)

    def fail(self, config):
        position, beyond, _, state, _ = config
        lines = ["no order fits. The longest that does ends with"]
        lines.append("    %s" % ("nothing there" if state == ABSENT
                                 else state))
        lines.append("and none of these may follow:")
        end = OPEN
        for i in range(position, len(self.ops)):
            if i in beyond:
                continue
            if self.ops[i].call > end:
                break
            end = min(end, self.rets[i])
            lines.append("    %s" % self.ops[i])
        raise Violation("\n".join(lines))


def check(ops):
    """Violation, or how many configurations were looked at, for all keys."""
    check_versions(ops)
    return sum(Register(of_key).check() for of_key in by_key(ops).values())
