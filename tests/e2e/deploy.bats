# SPDX-License-Identifier: ISC
#
# How the store is put to work: every way to start the responder, TLS and
# passwords as the configurations' comments show them, quickstart, systemd.

bats_require_minimum_version 1.5.0

setup() {
	load lib/servers
	e2e_begin
	page=$base/page
}

teardown() {
	e2e_end
}

# roundtrip URL [curl's options]: the three lines of the README.
roundtrip() {
	local url=$1
	shift
	[ "$(curl -sf "$@" -X POST "$url/set" \
		-d '{"key":"greeting","value":"hello"}')" = "" ]
	[ "$(curl -sf "$@" "$url/get?key=greeting")" = hello ]
	[ "$(curl -sf "$@" -X DELETE "$url/del?key=greeting")" = hello ]
	[ "$(curl -s "$@" -o "$page" -w '%{http_code}' \
		"$url/get?key=greeting")" = 404 ]
	grep -q '"code":"not_found"' "$page"
}

# uncomment WHAT FILE: the example of that name, as an operator would do it.
uncomment() {
	sed "/# $1, /,/# End of /s/^\([[:space:]]*\)#\([^ ]\)/\1\2/" "$2"
}

# The three curl lines answer as the README shows, behind each server.
@test "deploy: the three curl lines" {
	for server in lighttpd apache nginx; do
		start $server
		roundtrip "http://127.0.0.1:$(port_of $server)"
		stop $server
	done
}

# The commented examples of TLS and passwords work as they stand: a plain
# request without a password is refused on both ports.
@test "deploy: TLS and passwords" {
	local file tls url
	for server in lighttpd apache nginx; do
		case $server in
		nginx) file=$LSMKV_SRCDIR/deploy/nginx.conf ;;
		*) file=$LSMKV_SRCDIR/$server.conf ;;
		esac
		mkdir -p "$base/$server/run"
		openssl req -x509 -newkey rsa:2048 -nodes -days 365 \
			-subj /CN=localhost -addext subjectAltName=DNS:localhost \
			-keyout "$base/$server/run/key.pem" \
			-out "$base/$server/run/cert.pem" 2>/dev/null
		printf 'me:%s\n' "$(openssl passwd -6 secret)" \
			>"$base/$server/run/passwords"
		tls=$(free_port)
		conf=$base/$server.conf
		uncomment TLS "$file" | sed "s/8443/$tls/" >"$base/tls.conf"
		cmp "$file" "$base/tls.conf" && return 1
		uncomment Passwords "$base/tls.conf" >"$conf"
		cmp "$base/tls.conf" "$conf" && return 1

		[ $server = lighttpd ] || start_responder $server
		start_web $server
		url=https://localhost:$tls
		within 20 curl -s -o "$page" \
			--cacert "$base/$server/run/cert.pem" "$url/get"
		roundtrip "$url" -u me:secret \
			--cacert "$base/$server/run/cert.pem"
		for wrong in "" "-u me:wrong" "-u you:secret"; do
			# shellcheck disable=SC2086
			[ "$(curl -s -o "$page" -w '%{http_code}' $wrong \
				--cacert "$base/$server/run/cert.pem" \
				"$url/get?key=a")" = 401 ]
			# shellcheck disable=SC2086
			[ "$(curl -s -o "$page" -w '%{http_code}' $wrong \
				"http://127.0.0.1:$(port_of $server)/get")" \
				= 401 ]
		done
		stop $server
	done
}

# A responder on its own socket serves a web server that only connects, and
# takes its socket away when it ends.
@test "deploy: --socket" {
	local d=$base/lighttpd
	mkdir -p "$d/run" "$d/data"
	"$LSMKV_FCGI" --socket "$d/run/lsmkv.sock" --data-dir "$d/data" \
		>"$d/responder.log" 2>&1 3>&- &
	echo $! >"$d/responder.pid"
	within 10 test -S "$d/run/lsmkv.sock"
	# For its owner and group, nobody else.
	[ "$(stat -c %a "$d/run/lsmkv.sock")" = 660 ]
	start_web lighttpd
	within 10 answers lighttpd
	roundtrip "http://127.0.0.1:$(port_of lighttpd)"
	stop lighttpd
	[ ! -e "$d/run/lsmkv.sock" ]
}

# A TCP socket is for this machine only.
@test "deploy: --socket :PORT" {
	local d=$base/nginx port
	mkdir -p "$d/run" "$d/data"
	port=$(free_port)
	"$LSMKV_FCGI" --socket ":$port" --data-dir "$d/data" \
		>"$d/responder.log" 2>&1 3>&- &
	echo $! >"$d/responder.pid"
	conf=$base/tcp.conf
	sed "s|unix:var/run/lsmkv.sock|127.0.0.1:$port|" \
		"$LSMKV_SRCDIR/deploy/nginx.conf" >"$conf"
	start_web nginx
	within 10 answers nginx
	roundtrip "http://127.0.0.1:$(port_of nginx)"
	# In /proc/net/tcp: 127.0.0.1 as 0100007F, state listening as 0A.
	grep -q "$(printf ' 0100007F:%04X 00000000:0000 0A ' "$port")" \
		/proc/net/tcp
}

# As systemd does it: the socket is there first, the first request starts the
# responder, which has it as descriptor 0.
@test "deploy: socket activation" {
	command -v systemd-socket-activate >"$page" ||
		skip "no systemd-socket-activate"
	local d=$base/lighttpd
	mkdir -p "$d/run" "$d/data"
	LSMKV_DATA_DIR=$d/data systemd-socket-activate --inetd \
		-l "$d/run/lsmkv.sock" -E LSMKV_DATA_DIR "$LSMKV_FCGI" \
		>"$d/responder.log" 2>&1 3>&- &
	echo $! >"$d/responder.pid"
	within 10 test -S "$d/run/lsmkv.sock"
	[ ! -e "$d/data/MANIFEST" ]
	start_web lighttpd
	within 10 answers lighttpd
	[ -e "$d/data/MANIFEST" ]
	roundtrip "http://127.0.0.1:$(port_of lighttpd)"
}

# The units have no mistakes that systemd can find.
@test "deploy: systemd units" {
	command -v systemd-analyze >"$page" || skip "no systemd-analyze"
	mkdir "$base/units"
	cp "$LSMKV_SRCDIR/deploy/lsmkv.socket" "$base/units"
	sed -e "s|/usr/local/sbin/lsmkv.fcgi|$LSMKV_FCGI|" -e /^Documentation=/d \
		"$LSMKV_SRCDIR/deploy/lsmkv.service" \
		>"$base/units/lsmkv.service"
	run -0 systemd-analyze verify --man=no \
		"$base/units/lsmkv.service" "$base/units/lsmkv.socket"
	[ "$output" = "" ]
	run -0 systemd-analyze security --offline=true --threshold=15 \
		"$base/units/lsmkv.service"
}

# Plain CGI behind a web server: each request is a process of its own.
@test "deploy: CGI behind lighttpd" {
	local d=$base/cgi
	mkdir -p "$d/run" "$d/data"
	for path in get set del; do
		ln -s "$LSMKV_FCGI" "$d/run/$path"
	done
	free_port >"$d/port"
	cat >"$base/cgi.conf" <<-END
		server.modules = ( "mod_setenv", "mod_cgi" )
		setenv.set-environment = ( "LSMKV_DATA_DIR" => "$d/data" )
		server.bind = "127.0.0.1"
		server.port = $(cat "$d/port")
		server.document-root = "$d/run"
		cgi.assign = ( "" => "" )
	END
	lighttpd -D -f "$base/cgi.conf" >"$d/web.log" 2>&1 3>&- &
	echo $! >"$d/web.pid"
	within 10 answers cgi
	roundtrip "http://127.0.0.1:$(port_of cgi)"
	# Writes of many processes are there, and do not pile up unmerged.
	for i in $(seq 200); do
		key=$((i * 37 % 100))
		curl -sS --fail-with-body "http://127.0.0.1:$(port_of cgi)/set" \
			-d "{\"key\":\"$key\",\"value\":$i}"
	done
	for i in $(seq 101 7 200); do
		key=$((i * 37 % 100))
		[ "$(curl -sf "http://127.0.0.1:$(port_of cgi)/get?key=$key")" \
			= "$i" ]
	done
	verified cgi
}

# serve SERVER: deploy/serve in the background, until it says that it is ready.
# As from a terminal: a process group of its own that SIGINT can end.
serve() {
	LSMKV_PORT=$port LSMKV_DATA_DIR=$base/data LSMKV_RUN_DIR=$base/run \
		/usr/bin/python3 -c '
import os, signal, sys
os.setsid()
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
' "${program:-$LSMKV_SRCDIR/deploy/serve}" "$@" >"$base/serve.log" 2>&1 3>&- &
	pid=$!
	within "${patience:-20}" serve_says "Ctrl-C stops it" &&
		alive $pid || { cat "$base/serve.log"; return 1; }
}

# unserve TERM: by that signal, to serve alone. unserve INT: as Ctrl-C does, to
# every process of the group. Either way nothing is left.
unserve() {
	local status=0
	if [ "$1" = INT ]; then
		kill -INT -- -$pid
	else
		kill -TERM $pid
	fi
	wait $pid || status=$?
	[ $status -eq 0 ] && released && within 5 no_group $pid ||
		{ cat "$base/serve.log"; return 1; }
}

no_group() {
	! pgrep -r D,R,S -a -g "$1"
}

serve_says() {
	grep -q "$1" "$base/serve.log" || ! alive $pid
}

# No process of ours works on that directory any more.
released() {
	flock -n "$base/data/LOCK" true
}

# deploy/serve runs the store behind each server; SIGTERM and Ctrl-C end all of
# it; the next start finds the data.
@test "deploy: serve" {
	local port pid url signal
	port=$(free_port)
	url=http://127.0.0.1:$port
	for server in lighttpd apache nginx; do
	for signal in TERM INT; do
		serve $server
		grep -q "curl '$url/get?key=greeting'" "$base/serve.log"
		roundtrip "$url"
		curl -sf "$url/set" -d "{\"key\":\"$server\",\"value\":1}"
		unserve $signal
		run -7 curl -s "$url/get"
	done
	done
	serve
	for server in lighttpd apache nginx; do
		[ "$(curl -sf "$url/get?key=$server")" = 1 ]
	done
	# The port is taken: says so, and harms nobody.
	LSMKV_PORT=$port LSMKV_RUN_DIR=$base/run \
		run -1 "$LSMKV_SRCDIR/deploy/serve"
	[[ $output == *"LSMKV_PORT"* ]]
	[ "$(curl -sf "$url/get?key=nginx")" = 1 ]
	unserve TERM
}

# In an empty directory: clone, quickstart, the three lines; Ctrl-C; the second
# start takes about a second, and the data are there.
@test "deploy: quickstart" {
	[ -z "${LSMKV_SANITIZED:-}" ] || skip "it builds without sanitizers"
	local port pid url began ms program=$base/clone/deploy/quickstart
	port=$(free_port)
	url=http://127.0.0.1:$port
	mkdir "$base/clone"
	(cd "$LSMKV_SRCDIR" && tar -c --exclude=./.git --exclude='./build*' \
		--exclude=./autom4te.cache --exclude=./configure .) |
		tar -x -C "$base/clone"
	unset LSMKV_FCGI
	patience=400 serve
	roundtrip "$url"
	curl -sf "$url/set" -d '{"key":"kept","value":"yes"}'
	unserve INT
	began=$(date +%s%N)
	serve
	ms=$((($(date +%s%N) - began) / 1000000))
	echo "# the second start took $ms ms" >&3
	[ "$(curl -sf "$url/get?key=kept")" = yes ]
	unserve INT
	[ $ms -lt 2500 ]
}
