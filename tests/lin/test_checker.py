#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The checker judges histories whose truth is known."""

import itertools
import os
import random
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import checker
from checker import ABSENT, CAS, DEL, GET, OPEN, SET, Op


def S(call, ret, value, version=None):
    return Op(SET, "k", call, ret, value, version=version)


def G(call, ret, result, version=None):
    return Op(GET, "k", call, ret, result=result, version=version)


def D(call, ret, result=None, version=None):
    return Op(DEL, "k", call, ret, result=result, version=version)


def C(call, ret, expect, value, version=None, conflict=None):
    return Op(CAS, "k", call, ret, value, version=version, expect=expect,
              conflict=conflict)


GOOD = {
    "nothing": [],
    "a life": [G(0, 1, None), S(2, 3, "a"), G(4, 5, "a"), D(6, 7, "a"),
               G(8, 9, None), D(10, 11, None)],
    "a read during a write sees the old or the new": [
        S(0, 1, "a"), S(2, 9, "b"), G(3, 4, "a"), G(5, 6, "b")],
    "writes at once, in either order": [
        S(0, 9, "a"), S(0, 9, "b"), G(10, 11, "a")],
    "two deletes at once, one finds it": [
        S(0, 1, "a"), D(2, 9, "a"), D(3, 8, None)],
    "an open write that never happens": [
        S(0, 1, "a"), S(2, OPEN, "b"), G(3, 4, "a"), G(50, 51, "a")],
    "an open write that happens late": [
        S(0, 1, "a"), S(2, OPEN, "b"), G(30, 31, "a"), G(50, 51, "b")],
    "an open delete that happens late": [
        S(0, 1, "a"), D(2, OPEN), G(30, 31, "a"), G(50, 51, None)],
    "two open deletes": [
        S(0, 1, "a"), D(2, OPEN), D(2, OPEN), G(3, 4, None), S(5, 6, "b"),
        G(7, 8, None)],
    "an open read": [S(0, 1, "a"), G(2, OPEN, None), G(3, 4, "a")],
    "an open write between a delete and a read": [
        S(0, OPEN, "a"), D(5, 6, None), G(7, 8, "a"), D(9, 10, "a")],
    "swaps": [C(0, 1, 0, "a", 1), C(2, 3, 1, "b", 2),
              C(4, 5, 1, "c", None, 2), C(6, 7, 2, None), G(8, 9, None),
              C(10, 11, 2, "d", None, 0)],
    "of two swaps at once one is done": [
        S(0, 1, "a", 1), C(2, 5, 1, "b", 2), C(2, 5, 1, "c", None, 2)],
    "an open swap that was done": [
        S(0, 1, "a", 1), C(2, OPEN, 1, "b"), G(10, 11, "b", 2),
        C(12, 13, 2, "c", 3)],
    "a conflict with an open write that nobody else saw": [
        S(0, 1, "a", 1), S(2, OPEN, "b"), C(3, 4, 1, "c", None, 2),
        S(5, 6, "d", 3)],
    "a swap of what only a conflict told of": [
        S(0, 1, "a", 1), S(2, OPEN, "b"), C(3, 4, 1, "c", None, 2),
        C(5, 6, 2, "d", 3), G(7, 8, "d", 3)],
    "conflicts with two open writes": [
        S(0, 1, "a", 1), S(2, OPEN, "b"), S(2, OPEN, "c"),
        C(3, 4, 1, "d", None, 2), S(5, 6, "e", 3), C(7, 8, 3, "f", None, 4)],
    "versions as they come": [
        S(0, 9, "a", 2), S(0, 9, "b", 1), G(10, 11, "a", 2)],
}

BAD = {
    "a lost write": [S(0, 1, "a"), G(2, 3, None)],
    "a lost replacement": [S(0, 1, "a"), S(2, 3, "b"), G(4, 5, "a")],
    "a lost delete": [S(0, 1, "a"), D(2, 3, "a"), G(4, 5, "a")],
    "a value from nowhere": [S(0, 1, "a"), G(2, 3, "b")],
    "a read before the write": [G(0, 1, "a"), S(2, 3, "a")],
    "a read before an open write": [G(0, 1, "a"), S(2, OPEN, "a")],
    "new, then old": [
        S(0, 1, "a"), S(2, 9, "b"), G(3, 4, "b"), G(5, 6, "a")],
    "readers who disagree on the order": [
        S(0, 9, "a"), S(0, 9, "b"), G(10, 11, "a"), G(12, 13, "b")],
    "an open write that happens twice": [
        S(0, OPEN, "a"), G(1, 2, "a"), D(3, 4, "a"), G(5, 6, "a")],
    "one value deleted twice": [
        S(0, 1, "a"), D(2, 9, "a"), D(2, 9, "a")],
    "a delete that returns what was replaced": [
        S(0, 1, "a"), S(2, 3, "b"), D(4, 5, "a")],
    "a delete that finds nothing": [S(0, 1, "a"), D(2, 3, None)],
    "one open delete for two": [
        S(0, 1, "a"), D(2, OPEN), G(3, 4, None), S(5, 6, "b"),
        G(7, 8, None)],
    "an acknowledged write is gone after a crash": [
        S(0, 1, "a"), S(2, 3, "b"), S(4, OPEN, "c"), G(6, 7, "a")],
    "a write comes back after a crash": [
        S(0, OPEN, "a"), G(1, 2, "a"), S(3, 4, "b"), G(5, 6, "b"),
        G(7, 8, "a")],
    "a dirty read: what was seen is gone": [
        S(0, 1, "a"), S(2, OPEN, "b"), G(3, 4, "b"), G(5, 6, "a")],
    "a swap against another version": [
        S(0, 1, "a", 1), S(2, 3, "b", 2), C(4, 5, 1, "c", 3)],
    "two swaps of one version": [
        S(0, 1, "a", 1), C(2, 9, 1, "b", 2), C(2, 9, 1, "c", 3)],
    "two creations": [C(0, 9, 0, "a", 1), C(0, 9, 0, "b", 2)],
    "a conflict without a reason": [
        S(0, 1, "a", 1), C(2, 3, 1, "b", None, 1)],
    "a conflict with what was gone": [
        S(0, 1, "a", 1), S(2, 3, "b", 2), C(4, 5, 9, "c", None, 1)],
    "an open swap that could not be done": [
        S(0, 1, "a", 1), S(2, 3, "b", 2), C(4, OPEN, 1, "c"),
        G(6, 7, "c")],
    "a conflict with a version of nobody": [
        S(0, 1, "a", 1), C(2, 3, 1, "b", None, 2)],
    "conflicts with two open writes, of which there is one": [
        S(0, 1, "a", 1), S(2, OPEN, "b"),
        C(3, 4, 1, "d", None, 2), S(5, 6, "e", 3), C(7, 8, 3, "f", None, 4)],
    "a conflict with an open swap that could not be done": [
        S(0, 1, "a", 1), S(2, 3, "b", 2), C(4, OPEN, 1, "c"),
        C(5, 6, 2, "d", None, 3)],
    "a conflict with an open write that comes later": [
        S(0, 1, "a", 1), C(2, 3, 1, "c", None, 2), S(4, OPEN, "b")],
    "a later write with a lesser version": [
        S(0, 1, "a", 2), S(2, 3, "b", 1)],
    "two writes with one version": [S(0, 9, "a", 1), S(0, 9, "b", 1)],
    "a value with another version": [
        S(0, 1, "a", 1), G(2, 3, "a", 2)],
    "versions against what was read": [
        S(0, 9, "a", 2), S(0, 9, "b", 1), G(10, 11, "b", 1)],
}


def judge(ops):
    try:
        checker.check(ops)
        return True
    except checker.Violation:
        return False


def truth(ops):
    """By trying all orders, with each open operation done or left out."""
    must = [op for op in ops if op.ret != OPEN]
    may = [op for op in ops if op.ret == OPEN and op.kind != GET]
    for n in range(len(may) + 1):
        for some in itertools.combinations(may, n):
            for order in itertools.permutations(must + list(some)):
                if fits(order):
                    return True
    return False


def fits(order):
    for i, op in enumerate(order):
        if any(later.ret < op.call for later in order[i:]):
            return False
    holds = None
    for op in order:
        if op.kind == SET:
            holds = op.value
        elif op.kind == GET:
            if op.result != holds:
                return False
        else:
            if op.ret != OPEN and op.result != holds:
                return False
            holds = None
    return True


class Checker(unittest.TestCase):
    def test_good(self):
        for name, ops in GOOD.items():
            with self.subTest(name):
                checker.check(ops)

    def test_bad(self):
        for name, ops in BAD.items():
            with self.subTest(name):
                self.assertFalse(judge(ops))

    def test_the_order_of_the_list_does_not_matter(self):
        rng = random.Random(1)
        for histories, good in (GOOD, True), (BAD, False):
            for name, ops in histories.items():
                ops = list(ops)
                rng.shuffle(ops)
                with self.subTest(name):
                    self.assertEqual(judge(ops), good)

    def test_keys_are_apart(self):
        ops = [S(0, 1, "a"), Op(GET, "other", 2, 3)]
        checker.check(ops)
        self.assertFalse(judge(ops + [Op(GET, "other", 4, 5, result="a")]))

    def test_against_all_orders(self):
        """Random histories, judged as trying every order judges them."""
        rng = random.Random(2)
        verdicts = [0, 0]
        for _ in range(3000):
            ops = []
            values = ["v%d" % i for i in range(4)]
            fresh = iter(values)
            for _ in range(rng.randrange(2, 7)):
                call = rng.randrange(12)
                ret = OPEN if rng.random() < 0.25 else (
                    call + rng.randrange(1, 6))
                seen = rng.choice(values[:2] + [None])
                kind = rng.choice([SET, SET, GET, DEL])
                value = next(fresh, None) if kind == SET else None
                if value:
                    ops.append(S(call, ret, value))
                elif kind != DEL:
                    ops.append(G(call, ret, seen))
                else:
                    ops.append(D(call, ret, None if ret == OPEN else seen))
            good = truth(ops)
            verdicts[good] += 1
            self.assertEqual(judge(ops), good, "\n".join(map(str, ops)))
        self.assertGreater(min(verdicts), 300, verdicts)

    def simulate(self, rng, count, clients=8):
        """A history of a true register, with crashes: an operation takes
        effect at a moment between call and return, or is cut off."""
        now, state, version = 0.0, ABSENT, 0
        moments = []
        free = [0.0] * clients
        for n in range(count):
            c = rng.randrange(clients)
            call = free[c] + rng.random()
            at = call + rng.random()
            ret = at + rng.random()
            if rng.random() < 0.02:
                ret = OPEN
                if rng.random() < 0.5:
                    at = OPEN
            free[c] = (call + 2 if ret == OPEN else ret) + 0.001
            moments.append((at, call, ret, n))
        ops = []
        for at, call, ret, n in sorted(moments):
            kind = rng.choice([SET, SET, GET, DEL])
            if kind == SET:
                op = S(call, ret, "v%d" % n)
                if at != OPEN:
                    version += 1
                    state = (op.value, version)
                    if ret != OPEN:
                        op.version = version
            else:
                old, of = (None, None) if state == ABSENT else state
                if ret == OPEN:
                    old = of = None
                op = (G if kind == GET else D)(call, ret, old, of)
                if kind == DEL and at != OPEN:
                    version += 1
                    state = ABSENT
            ops.append(op)
        return ops

    def test_long_histories(self):
        """A true register passes, and fails with one answer changed."""
        rng = random.Random(3)
        for _ in range(5):
            ops = self.simulate(rng, 1500)
            checker.check(ops)
            reads = [op for op in ops if op.kind == GET and op.ret != OPEN
                     and op.call > 200]
            op = rng.choice(reads)
            op.version = None
            # Something that was replaced or deleted long ago.
            op.result = next(o.value for o in ops if o.kind == SET
                             and o.ret < 100)
            self.assertFalse(judge(ops))

    def test_long_histories_without_versions(self):
        rng = random.Random(4)
        for _ in range(5):
            ops = self.simulate(rng, 2000)
            for op in ops:
                op.version = None
            checker.check(ops)


if __name__ == "__main__":
    unittest.main()
