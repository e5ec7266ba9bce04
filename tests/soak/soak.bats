# SPDX-License-Identifier: ISC
#
# A short soak; `make soak` is the long form. LSMKV_KILLS is the number of kills.

bats_require_minimum_version 1.5.0

# No acknowledged write is lost, whichever process dies when.
@test "soak: kill -9 at random" {
	run "$BATS_TEST_DIRNAME/soak" "${LSMKV_KILLS:-20}"
	echo "$output"
	echo "$output" | grep '^# ' >&3
	[ "$status" -eq 0 ]
}
