# SPDX-License-Identifier: ISC
#
# lsmkv.fcgi(8) as a program: options, environment, exit statuses, and one
# request as a CGI program. What it answers is tested in contract.bats.

bats_require_minimum_version 1.5.0

setup() {
	top=${LSMKV_SRCDIR:-$BATS_TEST_DIRNAME/../..}
	fcgi=${LSMKV_BUILDDIR:-$top/build}/lsmkv.fcgi
	data=$BATS_TEST_TMPDIR/data
	# Nothing of the caller's settings; not a socket on descriptor 0.
	while read -r name; do
		unset "$name"
	done < <(compgen -e | grep -E '^LSMKV_|^REQUEST_METHOD$|^GATEWAY_')
	exec </dev/null
}

teardown() {
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
}

# serve OPTION...: in the background, until its socket is there.
serve() {
	"$fcgi" --data-dir "$data" --socket "$BATS_TEST_TMPDIR/s" "$@" \
		2>"$BATS_TEST_TMPDIR/log" 3>&- &
	pid=$!
	for _ in {1..200}; do
		! grep -q 'listening on' "$BATS_TEST_TMPDIR/log" || return 0
		sleep 0.05
	done
	cat "$BATS_TEST_TMPDIR/log"
	return 1
}

# cgi METHOD PATH QUERY: one request; its answer is $output.
cgi() {
	run -0 --separate-stderr env REQUEST_METHOD="$1" SCRIPT_NAME="$2" \
		QUERY_STRING="$3" LSMKV_DATA_DIR="$data" "$fcgi" "${@:4}"
}

# --help names every option and its variable; --version is one line.
@test "fcgi: help and version" {
	run -0 --separate-stderr "$fcgi" --help
	for option in data-dir socket memory memtable sync scrub max-value threads \
		host allow-origin helper log-level help version; do
		[[ $output == *"--$option"* ]]
	done
	[[ $output == *"LSMKV_DATA_DIR"* ]]
	[ -z "$stderr" ]
	run -0 --separate-stderr "$fcgi" --version
	[[ $output =~ ^lsmkv.fcgi\ [0-9]+\.[0-9]+ ]]
	[ "${#lines[@]}" -eq 1 ]
}

# A bad value is status 2; the message names the option, the value, and what
# is allowed. Nothing is created.
@test "fcgi: bad values" {
	while read -r option value; do
		run -2 --separate-stderr "$fcgi" --data-dir "$data" \
			--socket "$BATS_TEST_TMPDIR/s" "--$option" "$value"
		[[ $stderr == *"--$option \"$value\": it takes "* ]]
		variable=LSMKV_$(tr a-z- A-Z_ <<<"$option")
		run -2 --separate-stderr env "$variable=$value" "$fcgi" \
			--data-dir "$data"
		[[ $stderr == *"$variable \"$value\": it takes "* ]]
	done <<-'EOF2'
		memory -1
		memory 1
		memory 5X
		memory lots
		memtable 1
		memtable 2G
		sync sometimes
		sync interval
		sync interval=
		sync interval=5
		sync interval=0ms
		sync interval=2m
		sync interval=1h
		scrub 0s
		scrub 10ms
		scrub 5
		scrub 1000d
		max-value 0
		max-value 2G
		threads 0
		threads 1025
		threads 4x
		host a/b
		host a:80
		allow-origin example.org
		allow-origin http://
		allow-origin http://a/
		helper lsmkv-compact
		log-level loud
	EOF2
	[ ! -e "$data" ]
	[ ! -e "$BATS_TEST_TMPDIR/s" ]
}

# So are words that are no options, and having nothing to serve.
@test "fcgi: wrong usage" {
	run -2 --separate-stderr "$fcgi" --nonsense
	[[ $stderr == *"--help"* ]]
	run -2 --separate-stderr "$fcgi" data
	[[ $stderr == *"data"*"--help"* ]]
	run -2 --separate-stderr "$fcgi" --data-dir "$data"
	[[ $stderr == *"--socket"* ]]
	# Each is fine, together they are not.
	run -2 --separate-stderr "$fcgi" --data-dir "$data" \
		--socket "$BATS_TEST_TMPDIR/s" --memory 4M --memtable 4M
	[[ $stderr == *"memtable"* ]]
}

# The log tells what runs with which settings; SIGHUP and SIGTERM are heard;
# the socket is gone afterwards.
@test "fcgi: start, state, stop" {
	LSMKV_THREADS=7 LSMKV_SYNC=none serve --sync interval=2s --memory 64M
	log=$BATS_TEST_TMPDIR/log
	grep -q "info start: .*data in $data, memory 64M, sync interval=2s" "$log"
	grep -q "info start: listening on $BATS_TEST_TMPDIR/s, 7 threads" "$log"
	grep -q 'warn start: .*loses writes' "$log"
	[ "$(stat -c %a "$BATS_TEST_TMPDIR/s")" = 660 ]
	kill -HUP $pid
	for _ in {1..100}; do
		! grep -q 'info state: ' "$log" || break
		sleep 0.05
	done
	grep -q 'info state: ' "$log"
	kill -TERM $pid
	wait $pid
	pid=
	grep -q 'info stop: done' "$log"
	[ ! -e "$BATS_TEST_TMPDIR/s" ]
}

# A second process on the directory says who has it, and leaves the first
# one's socket alone.
@test "fcgi: one owner" {
	serve
	run -1 --separate-stderr "$fcgi" --data-dir "$data" \
		--socket "$BATS_TEST_TMPDIR/s"
	[[ $stderr == *"process $pid"* ]]
	[ -S "$BATS_TEST_TMPDIR/s" ]
	# Nor does a CGI request get in; it is told so.
	cgi GET /get key=a
	[[ $output == "Status: 503 "*'"code":"locked"'* ]]
	kill -TERM $pid
	wait $pid
	pid=
}

# A CGI program takes its options from its arguments when a person starts it,
# and never from what a web server makes of the query string.
@test "fcgi: CGI arguments" {
	cgi GET /get key=a
	[[ $output == "Status: 404 "*'"code":"not_found"'* ]]
	cgi GET /get key=a --max-value 5K
	[[ $output == "Status: 404 "* ]]
	export GATEWAY_INTERFACE=CGI/1.1
	cgi GET /get --data-dir --data-dir "$BATS_TEST_TMPDIR/other" --help
	[[ $output == "Status: 400 "*'"code":"parameter_unknown"'* ]]
	[ ! -e "$BATS_TEST_TMPDIR/other" ]
}

# A helper that cannot be run is told at the start, not when it is missed.
@test "fcgi: no helper" {
	run -1 --separate-stderr "$fcgi" --data-dir "$data" \
		--socket "$BATS_TEST_TMPDIR/s" --helper /no/such/program
	[[ $stderr == *"/no/such/program"*"--helper"* ]]
}
