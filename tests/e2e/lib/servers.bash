# SPDX-License-Identifier: ISC
# shellcheck shell=bash
#
# Real web servers for the tests, started from the shipped configurations. Each
# instance has a name, a free port on 127.0.0.1 and a directory of its own,
# $base/NAME: data/, run/, and as files its port, the process ids web.pid and
# responder.pid, and what they said, web.log and responder.log. Processes are
# stopped by those ids; nothing here touches what the system runs.
#
#     e2e_begin             an empty $base (setup)
#     start NAME [SERVER]   lighttpd, apache or nginx; SERVER is NAME if left out
#     stop NAME             both programs; the data stay
#     e2e_end               stops what still runs, removes $base (teardown);
#                           fails if a sanitizer found something
#
# LSMKV_SRCDIR is the source tree, LSMKV_BUILDDIR has the programs; options of
# the responder are passed as it takes them, LSMKV_MEMTABLE=64K and so on.

: "${LSMKV_SRCDIR:=$(cd "${BASH_SOURCE[0]%/*}/../../.." && pwd)}"
: "${LSMKV_BUILDDIR:=$LSMKV_SRCDIR/build}"
export LSMKV_SRCDIR LSMKV_BUILDDIR LSMKV_FCGI="$LSMKV_BUILDDIR/lsmkv.fcgi"
lib=$LSMKV_SRCDIR/tests/e2e/lib
PATH=$PATH:/usr/sbin:/sbin

# Slower builds (sanitizers) get more time: LSMKV_SLOW=5 is five times as much.
: "${LSMKV_SLOW:=1}"

e2e_begin() {
	[ -x "$LSMKV_FCGI" ] || { echo "no program $LSMKV_FCGI"; return 1; }
	# Not below bats' own directory, which the web servers' user may not
	# enter.
	base=$(mktemp -d "${LSMKV_TESTS_TMP:-/tmp}/lsmkv-e2e.XXXXXX")
	chmod 755 "$base"
	export base
	export ASAN_OPTIONS="log_path=$base/sanitizer:detect_leaks=1"
	export UBSAN_OPTIONS="log_path=$base/sanitizer:print_stacktrace=1"
	export TSAN_OPTIONS="log_path=$base/sanitizer"
	unset LSMKV_SOCKET LSMKV_PORT LSMKV_DATA_DIR LSMKV_RUN_DIR
}

e2e_end() {
	local failed=0 d f
	for d in "$base"/*/; do
		[ -d "$d" ] || continue
		stop "$(basename "$d")" || failed=1
	done
	for f in "$base"/sanitizer*; do
		[ -e "$f" ] || continue
		echo "a sanitizer found something:"
		cat "$f"
		failed=1
	done
	[ "$failed" -eq 0 ] || show_logs
	rm -rf "$base"
	return $failed
}

show_logs() {
	local f
	for f in "$base"/*/*.log "$base"/*/run/*.log; do
		[ -s "$f" ] || continue
		echo "--- $f"
		tail -n 40 "$f"
	done
}

# alive PID: it runs (a zombie does not).
alive() {
	local state
	state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" \
		2>/dev/null) || return 1
	[ "$state" ] && [ "$state" != Z ]
}

# within SECONDS COMMAND...: until it succeeds; fails if it never does.
within() {
	local end=$((SECONDS + $1 * LSMKV_SLOW + 1))
	shift
	until "$@"; do
		if [ "$SECONDS" -ge "$end" ]; then
			echo "not within the time: $*" >&2
			return 1
		fi
		sleep 0.02
	done
}

gone() {
	! alive "$1"
}

free_port() {
	/usr/bin/python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

port_of() {
	cat "$base/$1/port"
}

# The responder's process id: the one we started, or the web server's child.
responder_of() {
	local d=$base/$1
	if [ -e "$d/responder.pid" ]; then
		cat "$d/responder.pid"
	else
		pgrep -P "$(cat "$d/web.pid")" -f lsmkv.fcgi
	fi
}

# answers NAME: the responder itself answers. (Ends the waiting, too, if the web
# server has ended.)
answers() {
	alive "$(cat "$base/$1/web.pid")" || return 0
	[ "$(curl -s -o /dev/null -m 5 -w '%{http_code}' \
		"http://127.0.0.1:$(port_of "$1")/get")" = 400 ]
}

# Starts the responder by spawn-fcgi, as this shell's child.
start_responder() {
	local d=$base/$1 user=()
	# As root, Apache and nginx answer requests as www-data.
	[ "$(id -u)" -ne 0 ] || user=(-U www-data -G www-data)
	mkdir -p "$d/run" "$d/data"
	LSMKV_SOCKET=$d/run/lsmkv.sock LSMKV_DATA_DIR=$d/data \
		"$LSMKV_SRCDIR/deploy/spawn-fcgi.sh" -n "${user[@]}" \
		>>"$d/responder.log" 2>&1 3>&- &
	echo $! >"$d/responder.pid"
	within 10 test -S "$d/run/lsmkv.sock"
}

# Starts the web server alone: lighttpd brings its responder, unless there is
# a socket already. conf: another configuration file than the shipped one.
start_web() {
	local name=$1 server=${2:-$1} d port socket=
	d=$base/$name
	mkdir -p "$d/run" "$d/data"
	[ -e "$d/port" ] || free_port >"$d/port"
	port=$(cat "$d/port")
	[ ! -e "$d/responder.pid" ] || socket=$d/run/lsmkv.sock
	case $server in
	lighttpd)
		LSMKV_PORT=$port LSMKV_DATA_DIR=$d/data LSMKV_RUN_DIR=$d/run \
			LSMKV_SOCKET=$socket lighttpd -D \
			-f "${conf:-$LSMKV_SRCDIR/lighttpd.conf}" \
			>>"$d/web.log" 2>&1 3>&- &
		;;
	apache)
		LSMKV_PORT=$port LSMKV_RUN_DIR=$d/run LSMKV_SOCKET=$socket \
			apache2 -d "$LSMKV_SRCDIR" \
			-f "${conf:-$LSMKV_SRCDIR/apache.conf}" \
			-DFOREGROUND >>"$d/web.log" 2>&1 3>&- &
		;;
	nginx)
		# Its defaults, below a directory that is $d.
		mkdir -p "$d/deploy" "$d/var"
		[ -e "$d/var/run" ] || ln -s ../run "$d/var/run"
		sed "s/8081/$port/" \
			"${conf:-$LSMKV_SRCDIR/deploy/nginx.conf}" \
			>"$d/deploy/nginx.conf"
		(cd "$d" && exec nginx -p "$d" -c deploy/nginx.conf) \
			>>"$d/web.log" 2>&1 3>&- &
		;;
	esac
	echo $! >"$d/web.pid"
}

start() {
	[ "${2:-$1}" = lighttpd ] || start_responder "$1"
	start_web "$@"
	within 20 answers "$1" && alive "$(cat "$base/$1/web.pid")" ||
		{ show_logs; return 1; }
}

stop() {
	local d=$base/$1 web responder
	web=$(cat "$d/web.pid" 2>/dev/null) || web=
	responder=$(responder_of "$1" 2>/dev/null) || responder=
	rm -f "$d/web.pid" "$d/responder.pid"
	for pid in $web $responder; do
		kill -TERM "$pid" 2>/dev/null || continue
		if ! within 20 gone "$pid"; then
			echo "process $pid does not end"
			kill -KILL "$pid"
			return 1
		fi
	done
}

# contract SECTION NAME: that part of the table, by the server of that name.
contract() {
	if [ "$2" = cgi ]; then
		set -- "$1" cgi "$LSMKV_FCGI"
	else
		set -- "$1" "$2" "$(port_of "$2")"
	fi
	/usr/bin/python3 "$lib/contract.py" "$@"
}

# verified NAME: every checksum and rule of its store.
verified() {
	"$LSMKV_BUILDDIR/lsmkv" verify "$base/$1/data"
}
