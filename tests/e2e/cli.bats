# SPDX-License-Identifier: ISC
#
# lsmkv(1) as a program: usage, exit statuses, what goes where. What it says of
# a store is tested in tests/unit/test_cli.c; here the golden store will do.

bats_require_minimum_version 1.5.0

setup() {
	top=${LSMKV_SRCDIR:-$BATS_TEST_DIRNAME/../..}
	lsmkv=${LSMKV_BUILDDIR:-$top/build}/lsmkv
	store=$BATS_TEST_TMPDIR/store
	cp -r "$top/tests/golden/v1" "$store"
	unset LSMKV_DATA_DIR
}

# Flips a bit of the byte at offset $2 of the store's file $1.
damage() {
	python3 - "$store/$1" "$2" <<-'EOF'
	import sys
	with open(sys.argv[1], "r+b") as f:
	    f.seek(int(sys.argv[2]))
	    byte = f.read(1)[0]
	    f.seek(int(sys.argv[2]))
	    f.write(bytes([byte ^ 1]))
	EOF
}

# --help and --version answer on standard output, with success.
@test "cli: help and version" {
	run -0 --separate-stderr "$lsmkv" --help
	[[ $output == *"usage: lsmkv stat"*"lsmkv dump"*"lsmkv verify"* ]]
	[ -z "$stderr" ]
	run -0 --separate-stderr "$lsmkv" --version
	[[ $output =~ ^lsmkv\ [0-9]+\.[0-9]+ ]]
}

# Wrong usage is status 2, and says on standard error what is wrong.
@test "cli: wrong usage" {
	run -2 --separate-stderr "$lsmkv"
	[[ $stderr == *"no command"*"--help"* ]]
	run -2 --separate-stderr "$lsmkv" repair "$store"
	[[ $stderr == *"repair"* ]]
	run -2 --separate-stderr "$lsmkv" stat
	[[ $stderr == *"LSMKV_DATA_DIR"* ]]
	run -2 --separate-stderr "$lsmkv" verify "$store" more
	[[ $stderr == *"more"* ]]
	run -2 --separate-stderr "$lsmkv" verify --fast "$store"
	[[ $stderr == *"--fast"* ]]
	[ -z "$output" ]
}

# A sound store is status 0, in the directory named or in LSMKV_DATA_DIR.
@test "cli: a sound store" {
	for command in stat dump verify; do
		run -0 --separate-stderr "$lsmkv" $command "$store"
		[ -n "$output" ]
		[ -z "$stderr" ]
		LSMKV_DATA_DIR=$store run -0 "$lsmkv" $command
	done
	[[ $output == *"no damage"* ]]
}

# What is no store is status 2, and not "damaged".
@test "cli: no store" {
	mkdir "$BATS_TEST_TMPDIR/empty"
	run -2 --separate-stderr "$lsmkv" verify "$BATS_TEST_TMPDIR/empty"
	[[ $stderr == *"no store"* ]]
	run -2 --separate-stderr "$lsmkv" verify "$BATS_TEST_TMPDIR/nowhere"
	[[ $stderr == *"nowhere"* ]]
	run -2 --separate-stderr "$lsmkv" dump "$BATS_TEST_TMPDIR/nothing.sst"
}

# Damage is status 1, with a line that names file and offset.
@test "cli: a damaged store" {
	sst=$(basename "$(ls "$store"/*.sst | head -n 1)")
	damage "$sst" 30
	run -1 --separate-stderr "$lsmkv" verify "$store"
	[[ $output == *"damage: $sst: block at 16"* ]]
	run -1 "$lsmkv" dump "$store/$sst"
	damage MANIFEST 20
	run -1 --separate-stderr "$lsmkv" stat "$store"
	[[ $stderr == *"MANIFEST at offset"* ]]
	[ -z "$output" ]
}

# Standard output that cannot be written to is a failure.
@test "cli: a full disk below standard output" {
	run -2 bash -c "'$lsmkv' dump '$store' >/dev/full"
	[[ $output == *"standard output"* ]]
}

# Looking leaves the directory as it was, to the last byte.
@test "cli: only reads" {
	before=$(cd "$store" && ls -l --time-style=full-iso && cat ./* | cksum)
	for command in stat dump verify; do
		"$lsmkv" $command "$store" >/dev/null
	done
	after=$(cd "$store" && ls -l --time-style=full-iso && cat ./* | cksum)
	[ "$before" = "$after" ]
}
