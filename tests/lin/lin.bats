# SPDX-License-Identifier: ISC
#
# Linearizability in short; `make check-lin` is the long form. LSMKV_HISTORIES
# is the number of histories.

bats_require_minimum_version 1.5.0

# The checker itself: histories that must pass, and those that must fail.
@test "lin: the checker" {
	/usr/bin/python3 "$BATS_TEST_DIRNAME/test_checker.py"
}

# All operations on a key fit into one order, across kills and restarts.
@test "lin: histories with kills" {
	run "$BATS_TEST_DIRNAME/lin" "${LSMKV_HISTORIES:-5}"
	echo "$output"
	echo "$output" | grep '^# ' >&3
	[ "$status" -eq 0 ]
}
