# SPDX-License-Identifier: ISC
#
# What the store lives through: its own death, its helper's, a rival.

bats_require_minimum_version 1.5.0

setup() {
	load lib/servers
	e2e_begin
}

teardown() {
	e2e_end
}

# hammer PORT SECONDS... &: $! is the process itself, for signals.
hammer() {
	exec /usr/bin/python3 "$lib/hammer.py" "$@"
}

# kill -9 takes no answered write away, and lighttpd starts a new responder.
@test "crash: kill -9 of the responder under load" {
	export LSMKV_MEMTABLE=256K
	start lighttpd
	hammer "$(port_of lighttpd)" 120 >"$base/hammer.log" 3>&- &
	local hammer=$!
	for _ in 1 2 3 4; do
		sleep 1
		alive $hammer || break
		kill -KILL "$(responder_of lighttpd)"
		within 10 answers lighttpd
	done
	kill -USR1 $hammer # still there: all four were in the middle of it
	wait $hammer || { cat "$base/hammer.log"; return 1; }
	cat "$base/hammer.log"
	verified lighttpd
}

# A helper that dies in mid-compaction costs nothing: reads and writes go on,
# and a later helper does the job.
@test "crash: kill -9 of lsmkv-compact in mid-compaction" {
	export LSMKV_MEMTABLE=256K
	start lighttpd
	local responder hammer log=$base/lighttpd/web.log
	responder=$(responder_of lighttpd)
	hammer "$(port_of lighttpd)" 120 4 2000 >"$base/hammer.log" 3>&- &
	hammer=$!
	/usr/bin/python3 "$lib/killhelper.py" "$responder" 2 100
	sleep 2
	kill -USR1 $hammer
	wait $hammer || { cat "$base/hammer.log"; return 1; }
	cat "$base/hammer.log"
	# The same responder, and no request failed.
	[ "$(responder_of lighttpd)" = "$responder" ]
	grep -q ', 0 failed' "$base/hammer.log"
	[ "$(grep -c 'warn compaction of .* helper process' "$log")" -eq 2 ]
	# The jobs were done after all, once the helper was left alone.
	within 20 compacted_again "$log"
	verified lighttpd
}

compacted_again() {
	sed '1,/warn compaction of/d' "$1" | grep -q 'compaction: level'
}

# SIGTERM under load: running requests finish, exit 0 within a second; lighttpd
# finds the next responder on the same socket, and everything is there.
@test "crash: SIGTERM under load" {
	start_responder lighttpd
	start_web lighttpd
	within 10 answers lighttpd
	hammer "$(port_of lighttpd)" 4 >"$base/hammer.log" 3>&- &
	local hammer=$! began ms status=0
	sleep 2
	began=$(date +%s%N)
	kill -TERM "$(responder_of lighttpd)"
	wait "$(responder_of lighttpd)" || status=$?
	ms=$((($(date +%s%N) - began) / 1000000))
	echo "# ended after $ms ms with status $status"
	rm "$base/lighttpd/run/lsmkv.sock"
	start_responder lighttpd
	wait $hammer || { cat "$base/hammer.log"; return 1; }
	cat "$base/hammer.log"
	[ $status -eq 0 ]
	[ $ms -lt $((1500 * LSMKV_SLOW)) ]
	grep -q 'stop: done' "$base/lighttpd/responder.log"
	verified lighttpd
}

# A second responder on the directory says who has it and goes; the first one
# does not notice, and keeps its socket.
@test "crash: a second process on the same directory" {
	start_responder nginx
	start_web nginx
	within 10 answers nginx
	local d=$base/nginx url
	url=http://127.0.0.1:$(port_of nginx)
	curl -sf "$url/set" -d '{"key":"a","value":"b"}'
	for socket in "$d/run/lsmkv.sock" "$d/run/other.sock"; do
		run -1 timeout 10 "$LSMKV_FCGI" --data-dir "$d/data" \
			--socket "$socket"
		[[ $output == *"$d/data"* ]]
		[[ $output == *"in use by process $(responder_of nginx)"* ]]
	done
	[ "$(curl -sf "$url/get?key=a")" = b ]
	[ ! -e "$d/run/other.sock" ]
}

# What was answered is there after a restart of both programs.
@test "crash: restart" {
	start lighttpd
	for key in one two three; do
		curl -sf "http://127.0.0.1:$(port_of lighttpd)/set" \
			-d "{\"key\":\"$key\",\"value\":\"value of $key\"}"
	done
	stop lighttpd
	start lighttpd
	for key in one two three; do
		[ "$(curl -sf "http://127.0.0.1:$(port_of lighttpd)/get?key=$key")" \
			= "value of $key" ]
	done
}

# A body that stops half way changes nothing, whoever is in front.
@test "crash: half a body" {
	for server in lighttpd apache nginx; do
		start $server
		/usr/bin/python3 - "$(port_of $server)" <<-'END'
			import socket, sys
			s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
			body = b'{"key":"half","value":1}'
			s.sendall(b"POST /set HTTP/1.1\r\nHost: localhost\r\n"
			          b"Content-Length: %d\r\n\r\n%s"
			          % (len(body) + 1, body))
			s.shutdown(socket.SHUT_WR)
			s.settimeout(20)
			while s.recv(4096):
			    pass
		END
		run -22 curl -sf "http://127.0.0.1:$(port_of $server)/get?key=half"
		answers $server
		stop $server
	done
}
