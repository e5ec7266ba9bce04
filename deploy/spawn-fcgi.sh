#!/bin/sh
# SPDX-License-Identifier: ISC
#
# spawn-fcgi.sh [spawn-fcgi's options]: the responder on a socket of its own, for
# a web server that only connects (LSMKV_SOCKET), where there is no systemd.
# spawn-fcgi opens the socket, gives it to the web server's user, and becomes
# lsmkv.fcgi in the background; with -n in the foreground, for supervisors. It
# prints the process id; SIGTERM ends it.
#
#     LSMKV_SOCKET=/run/lsmkv/lsmkv.sock LSMKV_DATA_DIR=/var/lib/lsmkv \
#         deploy/spawn-fcgi.sh -u lsmkv -U www-data -G www-data
#
# -u: who runs it and owns the data; -U, -G: who may connect.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
socket=${LSMKV_SOCKET:-$top/var/run/lsmkv.sock}
export LSMKV_DATA_DIR="${LSMKV_DATA_DIR:-$top/var/data}"
for f in "${LSMKV_FCGI:-}" "$top/build/lsmkv.fcgi" "$top/lsmkv.fcgi" \
	/usr/local/sbin/lsmkv.fcgi /usr/sbin/lsmkv.fcgi; do
	[ -x "$f" ] && break
done
mkdir -p "$(dirname "$socket")" "$LSMKV_DATA_DIR"

# The socket is the store's only door: not for others. The variable must not
# reach the responder, which would open the socket a second time.
unset LSMKV_SOCKET
exec spawn-fcgi -s "$socket" -M 0660 -b 1024 "$@" -- "$f"
