# SPDX-License-Identifier: ISC
#
# Disks that lose power, fail, or are full: short runs. As root only, on file
# systems of their own; `make check-power` is the long form.
# LSMKV_CRASHES is the number of crashes of each file system.

bats_require_minimum_version 1.5.0

power=$BATS_TEST_DIRNAME

# here PROGRAM ARGUMENT...: skips the test if it says that it cannot run here.
here() {
	run /usr/bin/python3 "$power/$1" "${@:2}"
	if [ "$status" -eq 77 ]; then
		skip "${output##*skipped: }"
	fi
	echo "$output"
}

figures() {
	echo "$output" | grep '^# ' >&3
}

# What was acknowledged is there when the power comes back.
@test "power: ext4 loses power under load" {
	here powerloss.py --fs ext4 --crashes "${LSMKV_CRASHES:-20}"
	[ "$status" -eq 0 ]
	figures
}

@test "power: XFS loses power under load" {
	here powerloss.py --fs xfs --crashes "${LSMKV_CRASHES:-20}"
	[ "$status" -eq 0 ]
	figures
}

# The test itself: a store that does not sync loses something, and is caught.
@test "power: a store without syncs is found out" {
	for fs in ext4 xfs; do
		here powerloss.py --fs $fs --crashes 20 --sync=none
		[ "$status" -eq 1 ]
		[[ $output == *": FAILED"* || $output == *"; FAILED"* ]]
		[[ $output != *Traceback* ]]
	done
}

# A failed fsync is final until a restart, and what it left unsure does no harm.
@test "power: write-back fails with EIO" {
	here faults.py --cycles 3 eio
	[ "$status" -eq 0 ]
	figures
}

# Writes are refused, reads go on.
@test "power: the file system turns read-only" {
	here faults.py --cycles 3 readonly
	[ "$status" -eq 0 ]
	figures
}

# 507, reads go on, and writes come back by themselves.
@test "power: full disk and room again" {
	here faults.py --cycles 6 full tmpfs
	[ "$status" -eq 0 ]
	figures
}
