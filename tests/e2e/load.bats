# SPDX-License-Identifier: ISC
#
# Load: many connections, real input, space that comes back.
# LSMKV_LOAD_S is the length of the mixed load in seconds, LSMKV_STANZAS a limit
# to the real input (0: all of it).

bats_require_minimum_version 1.5.0

setup() {
	load lib/servers
	e2e_begin
}

teardown() {
	e2e_end
}

# 64 connections of gets, sets and dels: no 5xx, no time-out, while compactions
# run.
@test "load: 64 connections of mixed requests" {
	export LSMKV_MEMTABLE=512K
	start lighttpd
	run -0 wrk -t 2 -c 64 -d "${LSMKV_LOAD_S:-8}" --timeout 5 \
		-s "$lib/mixed.lua" "http://127.0.0.1:$(port_of lighttpd)/"
	echo "$output"
	echo "$output" | grep '^# ' >&3
	[[ $output == *"bad=0 connect=0 read=0 write=0 timeout=0"* ]]
	grep -q ' compact' "$base/lighttpd/web.log"
	verified lighttpd
}

# More kept connections than there are workers: none of them waits for ever.
@test "load: more kept connections than workers" {
	export LSMKV_THREADS=2
	for server in nginx apache; do
		start $server
		run -0 wrk -t 2 -c 64 -d 3 --timeout 5 -s "$lib/mixed.lua" \
			"http://127.0.0.1:$(port_of $server)/"
		echo "$server: $output"
		echo "$output" | grep '^# ' | sed "s/#/# $server:/" >&3
		[[ $output == *"bad=0 connect=0 read=0 write=0 timeout=0"* ]]
		stop $server
	done
}

# 1,000 clients, each of them a kept connection to one of 8 workers: no 5xx, no
# time-out, and a client that comes new is answered, too.
@test "load: 1,000 kept connections on 8 workers" {
	export LSMKV_THREADS=8
	for server in nginx apache; do
		start $server
		wrk -t 2 -c 1000 -d 6 --timeout 10 -s "$lib/mixed.lua" \
			"http://127.0.0.1:$(port_of $server)/" \
			>"$base/wrk" 2>&1 3>&- &
		wrk=$!
		sleep 3
		curl -s -m 10 -o /dev/null -w '%{http_code}' \
			"http://127.0.0.1:$(port_of $server)/get?key=none" |
			grep -x 404
		wait $wrk
		echo "$server: $(cat "$base/wrk")"
		grep '^# ' "$base/wrk" | sed "s/#/# $server:/" >&3
		grep -q "bad=0 connect=0 read=0 write=0 timeout=0" "$base/wrk"
		stop $server
	done
}

# 500 clients at once: no 5xx.
@test "load: 500 connections" {
	for server in lighttpd nginx apache; do
		start $server
		run -0 wrk -t 2 -c 500 -d 3 --timeout 10 -s "$lib/mixed.lua" \
			"http://127.0.0.1:$(port_of $server)/"
		echo "$server: $output"
		[[ $output == *"bad=0 connect=0 read=0 write=0 timeout=0"* ]]
		stop $server
	done
}

# packages LIMIT: of the index so many stanzas, or all.
packages() {
	apt-cache dumpavail |
		awk -v limit="$1" 'BEGIN { RS = ""; ORS = "\n\n" }
			!limit || NR <= limit' >"$base/dumpavail"
	[ -s "$base/dumpavail" ] || skip "apt-cache dumpavail has nothing"
}

real_input() {
	/usr/bin/python3 "$lib/realinput.py" "$(port_of lighttpd)" "$1" \
		<"$base/dumpavail"
}

flushed() {
	[ "$(grep -c ' flush: ' "$base/lighttpd/web.log")" -ge "$1" ]
}

bytes_of() {
	du -s --block-size=1 "$base/$1/data" | cut -f 1
}

below() {
	[ "$(bytes_of "$1")" -lt "$2" ]
}

# Debian's package index, loaded by 32 clients while the responder is killed,
# comes back byte for byte; so does every deleted stanza when it is deleted;
# all of it holds after a restart, in less room than the text takes. When the
# rest is deleted too, the room comes back.
@test "load: real input" {
	packages "${LSMKV_STANZAS:-0}"
	export LSMKV_MEMTABLE=1M
	start lighttpd
	real_input load >"$base/load.log" 3>&- &
	local loader=$! raw
	# A third of it, memtable by memtable.
	within 60 flushed $(($(stat -c %s "$base/dumpavail") / 3000000))
	kill -KILL "$(responder_of lighttpd)"
	alive $loader
	wait $loader || { cat "$base/load.log"; return 1; }
	cat "$base/load.log" >&3
	real_input read >&3
	raw=$(sed -n 's/.* \([0-9]*\) bytes.*/\1/p' "$base/load.log")
	"$LSMKV_BUILDDIR/lsmkv" stat "$base/lighttpd/data" | sed 's/^/# /' >&3
	echo "# raw $raw bytes, directory $(bytes_of lighttpd) bytes," \
		"$(grep -c ' flush: ' "$base/lighttpd/web.log") flushes," \
		"$(grep -c ' compact.*->' "$base/lighttpd/web.log") compactions" >&3
	within 20 below lighttpd "$raw"
	real_input delete >&3
	stop lighttpd
	start lighttpd
	real_input reread >&3
	verified lighttpd
	real_input clear >&3
	within 60 below lighttpd $((2 << 20))
	verified lighttpd
}

# The same when all of it was in the memtable and the log only.
@test "load: space comes back" {
	packages 5000
	start lighttpd
	real_input load
	[ "$(bytes_of lighttpd)" -gt $((2 << 20)) ]
	real_input clear
	within 60 below lighttpd $((2 << 20))
	verified lighttpd
}
