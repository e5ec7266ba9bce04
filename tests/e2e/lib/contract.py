# SPDX-License-Identifier: ISC
"""The base contract as a table: requests, and the answers to them.

    contract.py SECTION lighttpd|apache|nginx PORT
    contract.py SECTION cgi PROGRAM
    contract.py --sections

Each row is one request and what it must be answered, whoever stands in front
of lsmkv; rows of a section are sent in order to a store that other sections
may have used, so each section keeps to keys of its own. Where a web server
answers by itself and lsmkv never hears of the request, the row says so:
own={"apache": 414} is the status then. Prints a line for each row that fails;
the exit status says whether any did.
"""

import http.client
import json
import re
import sys
import urllib.parse

import client

MAX_VALUE = 16 << 20
HEADERS = {  # of every answer that lsmkv gives
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cache-control": "no-store",
}
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
REASONS = {413: "Content Too Large"}  # newer than http.client's

sections = {}


def section(make):
    sections[make.__name__] = make
    return make


class Row:
    """A request (method, target, body, headers, chunked, length) and the
    answer: status; text, the body; code, the word of a problem; type, the
    Content-Type; etag, whether there is one (None: as the status asks);
    allow, the Allow header; detail, what the problem's detail must contain.
    only, own: see above."""

    def __init__(self, method, target, status, text=None, code=None, *,
                 body=None, headers=(), chunked=False, length=None, type=None,
                 etag=None, allow=None, detail=None, also=None, own=None,
                 only=None):
        self.method = method
        self.target = target
        self.body = None if body is None else client.as_bytes(body)
        self.headers = headers
        self.chunked = chunked
        self.length = length
        self.status = status
        self.text = None if text is None else client.as_bytes(text)
        self.code = code
        self.type = type
        self.etag = status == 200 if etag is None else etag
        self.allow = allow
        self.detail = detail
        self.also = also or {}
        self.own = own or {}
        self.only = only

    def __str__(self):
        shown = "%s %s" % (self.method, self.target)
        if self.headers:
            shown += " %s" % (self.headers,)
        if self.body is not None:
            shown += " body %r" % self.body
        return shown[:200]

    def check(self, server):
        a = server.send(self.method, self.target, self.body, self.headers,
                        self.chunked, self.length)
        wrong = []

        def same(what, got, wanted):
            if got != wanted:
                wrong.append("%s: %.200r instead of %.200r"
                             % (what, got, wanted))

        if server.name in self.own:
            same("status", a.status, self.own[server.name])
            return wrong
        same("status", a.status, self.status)
        for name, value in {**HEADERS, **self.also}.items():
            same(name, a.headers.get(name), value)
        if self.method != "HEAD":
            same("length", a.headers.get("content-length"),
                 str(len(a.body)))
        if self.text is not None:
            same("body", a.body, self.text)
        if self.type is not None:
            same("type", a.headers.get("content-type"), self.type)
        same("allow", a.headers.get("allow"), self.allow)
        if self.etag != bool(re.fullmatch('"[1-9][0-9]*"',
                                          a.headers.get("etag", ""))):
            wrong.append("etag: %r" % a.headers.get("etag"))
        if self.status >= 400:
            wrong += self.check_problem(a)
        return wrong

    def check_problem(self, a):
        if a.headers.get("content-type") != "application/problem+json":
            return ["no problem but %r %.200r"
                    % (a.headers.get("content-type"), a.body)]
        if self.method == "HEAD":
            return []
        problem = json.loads(a.body)
        reason = REASONS.get(self.status) or http.client.responses[self.status]
        wanted = {"type": "about:blank", "title": reason,
                  "status": self.status, "code": self.code,
                  "detail": problem.get("detail")}
        if problem != wanted or not problem["detail"]:
            return ["problem %s instead of %s" % (problem, wanted)]
        if self.detail and self.detail not in problem["detail"]:
            return ["detail %r without %r" % (problem["detail"], self.detail)]
        return []


def get(key, *answer, **more):
    return Row("GET", "/get?key=" + quote(key), *answer, **more)


def delete(key, *answer, **more):
    return Row("DELETE", "/del?key=" + quote(key), *answer, **more)


def quote(key):
    return urllib.parse.quote(key, safe="")


def set_(key, value):
    """A pair that must be taken."""
    return Row("POST", "/set", 200, "",
               body=json.dumps({"key": key, "value": value},
                               ensure_ascii=False))


def set_raw(body, *answer, **more):
    return Row("POST", "/set", *answer, body=body, **more)


def bad(body, code, **more):
    """A body that must be refused with 400."""
    return set_raw(body, 400, None, code, **more)


@section
def life():
    """A key's life: absent, created, replaced, deleted."""
    return [
        get("life", 404, None, "not_found"),
        delete("life", 404, None, "not_found"),
        set_("life", "one"),
        get("life", 200, "one", type=TEXT),
        Row("HEAD", "/get?key=life", 200, "", type=TEXT,
            also={"content-length": "3"}),
        set_("life", "two, and longer"),
        get("life", 200, "two, and longer"),
        delete("life", 200, "two, and longer", type=TEXT),
        get("life", 404, None, "not_found"),
        Row("HEAD", "/get?key=life", 404, ""),
        delete("life", 404, None, "not_found"),
        set_("life", ""),
        get("life", 200, "", type=TEXT),
        delete("life", 200, ""),
        # What curl -d sends is called a form, and is read as JSON.
        set_raw('{"key":"life","value":"form"}', 200, "", headers=[
            ("Content-Type", "application/x-www-form-urlencoded")]),
        get("life", 200, "form"),
        # Members in either order, white space where JSON allows it.
        set_raw('\r\n\t {\n"value" : "x" , "key":"life" } \n', 200, ""),
        get("life", 200, "x"),
        set_raw('{"key":"life","value":"chunked"}', 200, "", chunked=True),
        get("life", 200, "chunked"),
        delete("life", 200, "chunked"),
    ]


@section
def keys():
    """One key, however it is spelled; what is no key."""
    control = {"lighttpd": 400}
    rows = []
    for key in ["k", "a b", "a+b", "a/b/../c", "a//b", "%", "%41", "key=x&y",
                "a#b?c", '"\\', "é", "日本", "\U0001d11e", "\U0010ffff",
                "\u00a0", "\u2028", "k" * 1024, "é" * 512]:
        rows += [set_(key, "value of " + key),
                 get(key, 200, "value of " + key),
                 delete(key, 200, "value of " + key),
                 get(key, 404, None, "not_found")]
    return rows + [
        # A plus sign is a space, %2B a plus sign; letters may be encoded.
        set_("a b+c", "1"),
        Row("GET", "/get?key=a+b%2Bc", 200, "1"),
        Row("GET", "/get?key=a%20b%2bc", 200, "1"),
        Row("GET", "/get?key=%61+b%2Bc", 200, "1"),
        Row("GET", "/get?k%65y=a+b%2Bc", 200, "1"),
        Row("GET", "/get?&key=a+b%2Bc&", 200, "1"),
        # In JSON, escapes are the same text.
        set_raw('{"key":"\\u0061\\u0020b+c","value":"2"}', 200, ""),
        Row("GET", "/get?key=a+b%2Bc", 200, "2"),
        # Unencoded UTF-8 is taken, too.
        set_("ü", "3"),
        Row("GET", "/get?key=ü", 200, "3"),
        Row("DELETE", "/del?key=%C3%BC", 200, "3"),
        # A key is not cut at anything, and is no prefix.
        set_("ab", "4"),
        Row("GET", "/get?key=a", 404, None, "not_found"),
        Row("GET", "/get?key=abc", 404, None, "not_found"),

        Row("GET", "/get", 400, None, "key_missing"),
        Row("GET", "/get?", 400, None, "key_missing"),
        Row("GET", "/get?key=", 400, None, "key_invalid"),
        Row("GET", "/get?key", 400, None, "key_invalid"),
        Row("GET", "/get?key=a&key=a", 400, None, "key_twice"),
        Row("GET", "/get?kye=a", 400, None, "parameter_unknown",
            detail="kye"),
        Row("GET", "/get?key=a&x=1", 400, None, "parameter_unknown",
            detail='"x"'),
        Row("GET", "/get?key=%", 400, None, "query_invalid", detail="%25"),
        Row("GET", "/get?key=%4", 400, None, "query_invalid"),
        Row("GET", "/get?key=%zz", 400, None, "query_invalid", detail="%zz"),
        Row("GET", "/get?key=a%00b", 400, None, "key_invalid"),
        Row("GET", "/get?key=%00", 400, None, "key_invalid"),
        Row("GET", "/get?key=%0a", 400, None, "key_invalid"),
        Row("GET", "/get?key=%7f", 400, None, "key_invalid"),
        Row("GET", "/get?key=%C2%85", 400, None, "key_invalid"),
        Row("GET", "/get?key=%e9", 400, None, "key_invalid"),
        Row("GET", b"/get?key=\xe9", 400, None, "key_invalid"),
        Row("GET", "/get?key=%C0%80", 400, None, "key_invalid"),
        Row("GET", "/get?key=%ED%A0%80", 400, None, "key_invalid"),
        Row("GET", "/get?key=" + "k" * 1025, 413, None, "key_too_big"),
        Row("DELETE", "/del", 400, None, "key_missing"),
        Row("DELETE", "/del?key=", 400, None, "key_invalid"),
        Row("DELETE", "/del?key=a&key=b", 400, None, "key_twice"),
        Row("DELETE", "/del?key=%zz", 400, None, "query_invalid"),
        bad('{"key":"","value":1}', "key_invalid"),
        bad('{"key":"a\\u0000b","value":1}', "key_invalid"),
        bad('{"key":"\\n","value":1}', "key_invalid"),
        bad('{"key":"\\u007f","value":1}', "key_invalid"),
        set_raw('{"key":"%s","value":1}' % ("k" * 1025), 413, None,
                "key_too_big"),
        # A request line of 10 KiB is beyond every one of them.
        Row("GET", "/get?key=" + "k" * 10240, 413, None, "key_too_big",
            own={"lighttpd": 431, "apache": 414}),
    ]


@section
def values():
    """What goes in comes out, byte for byte."""
    rows = []
    for text, value in [
            ('"a\\n"', "a\n"), ('"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\/\b\f\n\r\t'),
            ('"\\u0000"', "\0"), ('"a\\u0000b"', "a\0b"),
            ('"\\u00e9"', "é"), ('"é"', "é"), ('"\\ud834\\udd1e"', "\U0001d11e"),
            ('"\\uD800\\uDC00"', "\U00010000"),
            ('"\\udbff\\udfff"', "\U0010ffff"), ('"\\uffff"', "\uffff"),
            ('"\x7f"', "\x7f"), ('"<b>&amp;"', "<b>&amp;"),
            ('"\\u2028"', "\u2028"), ('"null"', "null")]:
        rows += [set_raw('{"key":"values","value":%s}' % text, 200, ""),
                 get("values", 200, value, type=TEXT)]
    for text in ["null", "true", "false", "0", "-0", "1.0", "1e400", "-1E-7",
                 "123456789012345678901234567890", "[]", "{}",
                 '{"b":1,"a":[1, 2 ,{"c":null}]}', '{"a":1,"a":2}',
                 '[ "\\u00e9", "é", "\\ud834\\udd1e" ]', "[\n\t1\r\n]",
                 "[" * 63 + "]" * 63]:
        rows += [set_raw('{"key":"values","value": %s }' % text, 200, ""),
                 get("values", 200, text, type=JSON)]
    return rows + [delete("values", 200, type=JSON)]


@section
def bodies():
    """What is no pair is refused, and nothing is written."""
    return [
        set_("bodies", "before"),
        bad("", "json_invalid"),
        bad(" ", "json_invalid"),
        bad("hello", "json_invalid"),
        bad("key=bodies&value=1", "json_invalid"),
        bad('{"key":"bodies","value":1', "json_invalid"),
        bad('{"key":"bodies","value":"a', "json_invalid"),
        bad('{"key":"bodies","value":1}}', "json_invalid"),
        bad('{"key":"bodies","value":1}x', "json_invalid"),
        bad(b'{"key":"bodies","value":1}\0', "json_invalid"),
        bad('{"key":"bodies","value":1,}', "json_invalid"),
        bad('{"key":"bodies" "value":1}', "json_invalid"),
        bad("{'key':'bodies','value':1}", "json_invalid"),
        bad('{"key":"bodies","value":NaN}', "json_invalid"),
        bad('{"key":"bodies","value":Infinity}', "json_invalid"),
        bad('{"key":"bodies","value":01}', "json_invalid"),
        bad('{"key":"bodies","value":1.}', "json_invalid"),
        bad('{"key":"bodies","value":+1}', "json_invalid"),
        bad('{"key":"bodies","value":TRUE}', "json_invalid"),
        bad('{"key":"bodies","value":[1,]}', "json_invalid"),
        bad('{"key":"bodies","value":"\\x41"}', "json_invalid"),
        bad('{"key":"bodies","value":"\\u12"}', "json_invalid"),
        bad('{"key":"bodies","value":"a\nb"}', "json_invalid"),
        bad('{"key":"bodies","value":"a\tb"}', "json_invalid"),
        bad('{"key":"bodies","value":"\\ud800"}', "json_invalid"),
        bad('{"key":"bodies","value":"\\udc00"}', "json_invalid"),
        bad('{"key":"bodies","value":"\\ud800\\u0041"}', "json_invalid"),
        bad('{"key":"bodies","value":["\\ud800"]}', "json_invalid"),
        bad('{"key":"bodies","value":1 /* one */}', "json_invalid"),
        bad('\ufeff{"key":"bodies","value":1}', "json_invalid"),
        # The detail tells where.
        bad('{"key":"bodies","value":nope}', "json_invalid", detail="24"),
        bad(b'{"key":"bodies","value":"\xe9"}', "utf8_invalid"),
        bad(b'{"key":"bodies","value":"\xc0\x80"}', "utf8_invalid"),
        bad(b'{"key":"bodies","value":"\xed\xa0\x80"}', "utf8_invalid"),
        bad(b'{"key":"bodies","value":"\xf4\x90\x80\x80"}', "utf8_invalid"),
        bad('{"key":"bodies","value":' + "[" * 64 + "]" * 64 + "}",
            "json_depth"),
        bad('{"key":"bodies","value":' + "[" * 100000, "json_depth"),
        bad('{"value":1}', "key_missing"),
        bad("{}", "key_missing"),
        bad('{"key":"bodies"}', "value_missing"),
        bad('{"key":"bodies","value":1,"value":2}', "value_twice"),
        bad('{"key":"bodies","key":"bodies","value":1}', "key_twice"),
        bad('{"key":"bodies","\\u006bey":"bodies","value":1}', "key_twice"),
        bad('{"key":"bodies","value":1,"tll":5}', "member_unknown",
            detail="tll"),
        bad('{"key":"bodies","Value":1}', "member_unknown", detail="Value"),
        bad('{"key":"bodies","value\\u0000x":1}', "member_unknown"),
        bad('{"key":5,"value":1}', "key_invalid"),
        bad('{"key":null,"value":1}', "key_invalid"),
        bad('"bodies"', "json_invalid"),
        bad("5", "json_invalid"),
        bad("null", "json_invalid"),
        get("bodies", 200, "before"),
        # The key belongs into the body.
        set_raw('{"key":"bodies","value":1}', 200, "", headers=[
            ("Content-Type", "text/plain")]),
        # No length, and one that is none.
        Row("POST", "/set", 411, None, "length_required",
            own={"lighttpd": 411}),
        Row("POST", "/set", 400, None, "length_invalid", length="x", body="",
            own={"lighttpd": 400, "apache": 400, "nginx": 400}),
        Row("POST", "/set", 400, None, "length_invalid", length="-1", body="",
            own={"lighttpd": 400, "apache": 400, "nginx": 400}),
        # Requests that name their key in the URL have no body.
        Row("GET", "/get?key=bodies", 400, None, "body_unexpected", body="x"),
        Row("DELETE", "/del?key=bodies", 400, None, "body_unexpected",
            body="x"),
        Row("GET", "/get?key=bodies", 200, "1", body=""),
    ]


@section
def limits():
    """16 MiB go in and out; a byte more is refused, and more than that from
    the length alone."""
    most = "0123456789abcdef" * (MAX_VALUE // 16)
    lines = "\n" * MAX_VALUE
    return [
        set_("limits", most),
        get("limits", 200, most, type=TEXT),
        set_("limits", lines),
        get("limits", 200, lines),
        set_raw('{"key":"limits","value":"%sx"}' % most, 413, None,
                "value_too_big"),
        get("limits", 200, lines),
        delete("limits", 200, lines),
        get("limits", 404, None, "not_found"),
    ]


@section
def low_limits():
    """The same where --max-value is 64K."""
    most = "x" * (64 << 10)
    controls = "\u0001" * (64 << 10)  # as escapes, the longest body of all
    return [
        set_("low", most),
        set_raw('{"key":"low","value":"%sx"}' % most, 413, None,
                "value_too_big"),
        get("low", 200, most),
        set_("low", controls),
        get("low", 200, controls),
        # Told from the length alone: what is sent of the body is no JSON.
        Row("POST", "/set", 413, None, "body_too_big", body="x" * (500 << 10)),
        Row("POST", "/set", 413, None, "body_too_big", body=b"x",
            length=40 << 20, only=["cgi"]),
        Row("POST", "/set", 413, None, "body_too_big", body="x" * (2 << 20),
            own={"lighttpd": 413, "apache": 413, "nginx": 413}),
        get("low", 200, controls),
        delete("low", 200, controls),
    ]


@section
def routes():
    """Paths and methods."""
    rows = []
    for path, allow, others in [
            ("/get?key=routes", "GET, HEAD", ["POST", "PUT", "DELETE",
                                              "PATCH", "OPTIONS"]),
            ("/set", "POST", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]),
            ("/del?key=routes", "DELETE", ["GET", "HEAD", "POST", "PUT",
                                           "OPTIONS"])]:
        for method in others:
            rows.append(Row(method, path, 405, None, "method_not_allowed",
                            allow=allow, etag=False,
                            body="{}" if method in ("POST", "PUT", "PATCH")
                            else None))
    for path in ["/", "/x", "/gett?key=a", "/ge", "/get/?key=a",
                 "/get/x?key=a", "/GET?key=a", "/index.html", "/favicon.ico",
                 "/set/../x"]:
        rows.append(Row("GET", path, 404, None, "no_endpoint",
                        detail="/get?key=KEY"))
    return rows + [
        # Not ours: a zero byte ends no path.
        Row("GET", "/get%00?key=a", 400, only=["apache", "lighttpd", "nginx"],
            own={"lighttpd": 404, "nginx": 400, "apache": 404}),
        Row("POST", "/nope", 404, None, "no_endpoint", body="{}"),
        set_("routes", "1"),
        # A letter of the path may be encoded.
        Row("GET", "/g%65t?key=routes", 200, "1"),
        Row("BREW", "/get?key=routes", 405, None, "method_not_allowed",
            allow="GET, HEAD", own={"lighttpd": 501}),
        # Methods are in capitals.
        Row("get", "/get?key=routes", 405, None, "method_not_allowed",
            allow="GET, HEAD", own={"lighttpd": 501, "nginx": 400}),
        get("routes", 200, "1"),
    ]


@section
def safety():
    """Other sites' pages stay outside; what is stored is inert."""
    def host(name, status=404, **more):
        return Row("GET", "/get?key=safety-absent", status, None,
                   "not_found" if status == 404 else "host_unknown",
                   headers=[("Host", name)], **more)

    def refused(*headers):
        return [set_raw('{"key":"safety","value":"evil"}', 403, None,
                        "cross_site", headers=headers),
                Row("GET", "/get?key=safety", 403, None, "cross_site",
                    headers=headers),
                Row("DELETE", "/del?key=safety", 403, None, "cross_site",
                    headers=headers)]

    def taken(*headers):
        return Row("GET", "/get?key=safety", 200, "good", headers=headers)

    page = "<!DOCTYPE html><script>alert(1)</script>"
    return [
        set_("safety", "good"),
        host("localhost"), host("localhost:8081"), host("LOCALHOST"),
        host("127.0.0.1"), host("127.0.0.1:80"), host("192.0.2.7"),
        host("[::1]"), host("[::1]:8081"), host("[2001:db8::1]"),
        host("evil.example", 421, detail="--host"),
        host("evil.example:8081", 421),
        host("localhost.evil.example", 421),
        host("127.0.0.1.evil.example", 421),
        set_raw('{"key":"safety","value":"evil"}', 421, None, "host_unknown",
                headers=[("Host", "evil.example")]),
        Row("DELETE", "/del?key=safety", 421, None, "host_unknown",
            headers=[("Host", "evil.example")]),
        *refused(("Sec-Fetch-Site", "cross-site")),
        *refused(("Origin", "https://evil.example")),
        *refused(("Origin", "null")),
        *refused(("Host", "localhost:8081"),
                 ("Origin", "http://localhost:9999")),
        *refused(("Host", "localhost:8081"),
                 ("Origin", "http://localhost:8081.evil.example")),
        taken(("Sec-Fetch-Site", "same-origin")),
        taken(("Sec-Fetch-Site", "none")),
        taken(("Host", "localhost:8081"),
              ("Origin", "http://localhost:8081")),
        taken(("Host", "localhost"), ("Origin", "http://localhost")),
        get("safety", 200, "good"),
        # Stored HTML: HEADERS and the type are what makes it inert.
        set_("safety", page),
        get("safety", 200, page, type=TEXT),
        delete("safety", 200, page, type=TEXT),
    ]


@section
def versions():
    """Every write gets a greater version, and ETag tells it."""
    return Versions()


class Versions:
    """Not a table: each answer's ETag depends on the one before."""

    def run(self, server):
        def etag(method, target, body=None):
            answer = server.send(method, target, body)
            assert answer.status == 200, answer.status
            return int(answer.headers["etag"].strip('"'))

        pair = b'{"key":"versions","value":1}'
        first = etag("POST", "/set", pair)
        assert etag("GET", "/get?key=versions") == first
        assert etag("HEAD", "/get?key=versions") == first
        second = etag("POST", "/set", pair)
        assert second > first
        assert etag("GET", "/get?key=versions") == second
        # The one that was deleted.
        assert etag("DELETE", "/del?key=versions") == second
        assert etag("POST", "/set", pair) > second
        etag("DELETE", "/del?key=versions")


def run(name, server):
    rows = sections[name]()
    if not isinstance(rows, list):
        rows.run(server)
        print("# %s behind %s" % (name, server.name))
        return True
    failed = sent = 0
    for row in rows:
        if row.only and server.name not in row.only:
            continue
        sent += 1
        try:
            wrong = row.check(server)
        except (AssertionError, OSError, ValueError,
                http.client.HTTPException) as e:
            wrong = [repr(e)]
        for what in wrong:
            print("%s: %s\n    %s" % (server.name, row, what))
        failed += bool(wrong)
    print("# %s behind %s: %d rows, %d failed"
          % (name, server.name, sent, failed))
    return not failed


def main(arguments):
    if arguments == ["--sections"]:
        print("\n".join(sections))
        return 0
    name, server, where = arguments
    return 0 if run(name, client.connect(server, where)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
