# SPDX-License-Identifier: ISC
#
# The base contract: one table of requests and answers (lib/contract.py), the
# same behind all three web servers and as plain CGI.

bats_require_minimum_version 1.5.0

setup_file() {
	load lib/servers
	e2e_begin
	start lighttpd
	start apache
	start nginx
}

teardown_file() {
	load lib/servers
	e2e_end
}

setup() {
	load lib/servers
}

# everywhere SECTION: tells of all servers before it fails.
everywhere() {
	local failed=0
	for server in lighttpd apache nginx; do
		contract "$1" $server || failed=1
	done
	mkdir -p "$base/cgi/$1"
	LSMKV_DATA_DIR=$base/cgi/$1 contract "$1" cgi || failed=1
	return $failed
}

# A key is absent, created, replaced and deleted, and each answer says so.
@test "contract: the life of a key" {
	everywhere life
}

# However a key is spelled it is the same key; what is no key is refused.
@test "contract: keys" {
	everywhere keys
}

# A string comes back as its text, other JSON as it was sent.
@test "contract: values" {
	everywhere values
}

# A body that is no pair is refused by name, and nothing is written.
@test "contract: bodies" {
	everywhere bodies
}

# 16 MiB pass, a byte more does not.
@test "contract: limits" {
	everywhere limits
}

# Unknown paths and methods are told what there is.
@test "contract: routes" {
	everywhere routes
}

# Other sites' pages stay outside, rebound names too; stored HTML is inert.
@test "contract: safety" {
	everywhere safety
}

# Versions grow with every write, and ETag tells them.
@test "contract: versions" {
	everywhere versions
}

# --max-value moves every limit that depends on it.
@test "contract: another --max-value" {
	export LSMKV_MAX_VALUE=64K
	export LSMKV_MAX_BODY=1572864
	for server in lighttpd apache nginx; do
		conf=
		if [ $server = nginx ]; then
			conf=$base/low.conf
			sed '/LSMKV_MAX_BODY$/s/[0-9]\{1,\}/1572864/' \
				"$LSMKV_SRCDIR/deploy/nginx.conf" >"$conf"
		fi
		start low-$server $server
		/usr/bin/python3 "$lib/contract.py" low_limits $server \
			"$(port_of low-$server)"
		stop low-$server
	done
	mkdir -p "$base/cgi/low"
	LSMKV_DATA_DIR=$base/cgi/low contract low_limits cgi
}

# One connection serves any number of requests, behind each server.
@test "contract: kept connections" {
	for server in lighttpd apache nginx; do
		url=http://127.0.0.1:$(port_of $server)
		run -0 curl -sv --fail-with-body \
			"$url/set" -d '{"key":"kept","value":"a"}' --next \
			-sv "$url/get?key=kept" --next \
			-sv "$url/get?key=kept-absent" --next \
			-svX DELETE "$url/del?key=kept"
		[ "$(grep -c 'Re-using existing connection' <<<"$output")" -eq 3 ]
		[ "$(grep -c '^< HTTP/1.1 200' <<<"$output")" -eq 3 ]
	done
}
