/* SPDX-License-Identifier: ISC */
/*
 * Fuzz target: a request as a web server sends it.
 *
 *     byte 0: bits 0-1: 0: a raw stream, for what reads it without libfcgi
 *                       1: variables and body, for the API
 *                       2: the same, also through the responder's socket
 *                       3: the same, twice over one connection, each time in
 *                          two pieces
 *     byte 1: how the stream is cut into records, or into pieces
 *     then:   the stream; or "NAME=value" lines, an empty line, and the body
 *
 * libfcgi trusts its peer, which is why only web servers may reach the socket
 * (doc/reliability.md); so it is fed well-formed records only, whose content
 * is anything. Every answer is well formed, is one of ours, and has no line
 * that is not; what /set takes, /get gives; and the responder's answer is to
 * the byte the one that the API makes without it.
 */
#include <errno.h>
#include <json.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "http/api_json.h"
#include "http/fcgi.h"
#include "http/listen.h"
#include "http/record.h"
#include "http/text.h"
#include "http/whole.h"
#include "lib/fake_engine.h"
#include "lib/fastcgi.h"

#define INPUT_MAX (16u << 10)
#define VARIABLES_MAX 64u
#define MAX_VALUE 2048u

const char fuzz_name[] = "fcgi";

/* ---- an engine that can be emptied under an api ---- */

struct forward {
	struct engine engine; /* first: what the api holds */
	struct engine *to;    /* NULL: a new one */
};

static struct engine *
forward_to(struct engine *e)
{
	struct forward *f = (struct forward *)e;

	if (!f->to)
		f->to = fake_engine_new();
	return f->to;
}

static int
forward_get(struct engine *e, struct slice key, uint64_t snapshot,
            struct buf *value, struct entry_info *info, struct err *err)
{
	return engine_get(forward_to(e), key, snapshot, value, info, err);
}

static int
forward_write(struct engine *e, struct op *ops, size_t count, size_t *failed,
              struct err *err)
{
	return engine_write(forward_to(e), ops, count, failed, err);
}

static const struct engine_ops forward_ops = { .get = forward_get,
	                                       .write = forward_write };
static struct forward here = { { &forward_ops }, NULL };
static struct forward there = { { &forward_ops }, NULL };

static void
forward_empty(struct forward *f)
{
	if (f->to && fake_engine_count(f->to)) {
		engine_close(f->to, NULL);
		f->to = NULL;
	}
}

/* ---- the API, here and behind the socket ---- */

static struct api *api;   /* over `here` */
static struct fcgi *fcgi; /* with an api over `there` */
static struct sockaddr_un address;

static void
start(void)
{
	static const char *const origins[] = { "http://friend.example", NULL };
	struct api_options options = { .max_value_bytes = MAX_VALUE,
		                       .origins = origins };
	struct fcgi_options fcgi_options = { .threads = 1, .timeout_ms = 2000 };
	struct api *behind;

	REQUIRE(!api_new(&api, &here.engine, &options, NULL));
	REQUIRE(!api_new(&behind, &there.engine, &options, NULL));
	address.sun_family = AF_UNIX;
	fuzz_dir();
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket",
	         fuzz_path());
	REQUIRE(!listen_open(address.sun_path, &fcgi_options.listen_fd, NULL));
	REQUIRE(!fcgi_start(&fcgi, behind, &fcgi_options, NULL));
}

/* ---- the request ---- */

struct input {
	char *variables[VARIABLES_MAX + 1]; /* "NAME=value", NULL-terminated */
	size_t lens[VARIABLES_MAX];         /* NULs inside of them count */
	size_t count;
	struct slice body;
	char *memory; /* of the variables; owned */
};

static void
input_read(struct input *in, struct slice text)
{
	char *at;

	memset(in, 0, sizeof(*in));
	in->memory = malloc(text.len + 1);
	REQUIRE(in->memory);
	if (text.len)
		memcpy(in->memory, text.data, text.len);
	in->memory[text.len] = '\0';
	at = in->memory;
	while (text.len) {
		const unsigned char *end = memchr(text.data, '\n', text.len);
		size_t len = end ? (size_t)(end - text.data) : text.len;
		size_t skip = end ? len + 1 : len;

		at[len] = '\0';
		text = slice_make(text.data + skip, text.len - skip);
		if (!len)
			break;
		if (in->count < VARIABLES_MAX && memchr(at, '=', len)) {
			in->lens[in->count] = len;
			in->variables[in->count++] = at;
		}
		at += skip;
	}
	in->body = text;
}

/* ---- the answer ---- */

static const char *const our_lines[] = {
	"Status: ",
	"Content-Length: ",
	"X-Content-Type-Options: nosniff",
	"Content-Security-Policy: default-src 'none'; sandbox",
	"Cache-Control: no-store",
	"Content-Type: text/plain; charset=utf-8",
	"Content-Type: application/json",
	"Content-Type: application/problem+json",
	"Content-Type: application/octet-stream",
	"ETag: \"",
	"Allow: ",
	"Retry-After: ",
	"Vary: Origin",
	"Access-Control-Expose-Headers: ETag",
	"Access-Control-Allow-Origin: http://friend.example",
};

/* The status; what else the answer says is ours, and fits together. */
static int
check_answer(struct slice head, struct slice payload, bool head_only)
{
	const unsigned char *at = head.data, *end = head.data + head.len;
	uint64_t length = UINT64_MAX;
	int status = 0;

	REQUIRE(head.len > 4 && !memcmp(end - 4, "\r\n\r\n", 4));
	for (end -= 2; at < end;) {
		const unsigned char *stop =
			memmem(at, (size_t)(end - at), "\r\n", 2);
		struct slice line;
		size_t i = 0;

		REQUIRE(stop);
		line = slice_make(at, (size_t)(stop - at));
		at = stop + 2;
		for (size_t c = 0; c < line.len; c++)
			REQUIRE(line.data[c] >= 0x20 && line.data[c] < 0x7f);
		while (i < sizeof(our_lines) / sizeof(our_lines[0]) &&
		       !slice_has_prefix(line, slice_str(our_lines[i])))
			i++;
		REQUIRE(i < sizeof(our_lines) / sizeof(our_lines[0]));
		if (i == 0)
			status = atoi((const char *)line.data + 8);
		if (i == 1)
			length = strtoull((const char *)line.data + 16, NULL,
			                  10);
	}
	REQUIRE(status == 200 || (status >= 400 && status < 500));
	REQUIRE(head_only ? !payload.len : payload.len == length);
	if (status != 200 && !head_only) {
		struct json_tokener *t = json_tokener_new();
		struct json_object *object, *said;

		json_tokener_set_flags(t, JSON_TOKENER_STRICT |
		                                  JSON_TOKENER_VALIDATE_UTF8);
		object = json_tokener_parse_ex(t, (const char *)payload.data,
		                               (int)payload.len);
		REQUIRE(object);
		REQUIRE(json_object_object_get_ex(object, "status", &said));
		REQUIRE(json_object_get_int(said) == status);
		json_object_put(object);
		json_tokener_free(t);
	}
	return status;
}

/* Answers through the API alone; head and payload, both, go to out. */
static int
answer_here(char *const *variables, struct slice body, struct buf *out)
{
	struct request r = { .method = METHOD_OTHER };
	struct response res = { .status = 0 };
	struct buf head = BUF_INIT;
	struct slice payload;
	int status;

	request_read_env(&r, variables);
	if (api_accepts(api, &r, &res)) {
		REQUIRE(!buf_set(&r.body, body, NULL));
		if (body.len == r.length)
			api_answer(api, &r, &res);
		else
			api_refuse_body(&r, &res);
	}
	REQUIRE(!response_head(&res, &head, NULL));
	payload = response_payload(&res);
	status = check_answer(buf_slice(&head), payload,
	                      r.method == METHOD_HEAD);
	REQUIRE(!buf_set(out, buf_slice(&head), NULL));
	REQUIRE(!buf_append_slice(out, payload, NULL));
	buf_release(&head);
	request_release(&r);
	response_release(&res);
	return status;
}

/* What /set took is what /get gives. */
static void
check_kept(const struct input *in)
{
	struct buf body = BUF_INIT, query = BUF_INIT, answer = BUF_INIT;
	struct api_pair pair;
	struct api_json j;
	const unsigned char *end;
	char *variables[] = { (char *)"REQUEST_METHOD=GET",
		              (char *)"SCRIPT_NAME=/get",
		              (char *)"HTTP_HOST=localhost", NULL, NULL };

	REQUIRE(!buf_set(&body, in->body, NULL));
	REQUIRE(api_json_begin(&j, &body) && api_json_pair(&j, &pair));
	REQUIRE(!buf_append_slice(&query, slice_str("QUERY_STRING=key="),
	                          NULL));
	for (size_t i = 0; i < pair.key.len; i++) {
		char byte[4];

		snprintf(byte, sizeof(byte), "%%%02x", pair.key.data[i]);
		REQUIRE(!buf_append(&query, byte, 3, NULL));
	}
	REQUIRE(!buf_append(&query, "", 1, NULL));
	variables[3] = (char *)query.data;
	REQUIRE(answer_here(variables, slice_make(NULL, 0), &answer) == 200);
	end = memmem(answer.data, answer.len, "\r\n\r\n", 4);
	REQUIRE(end);
	end += 4;
	REQUIRE(slice_equal(
		slice_make(end, (size_t)(answer.data + answer.len - end)),
		pair.value));
	buf_release(&body);
	buf_release(&query);
	buf_release(&answer);
}

/* ---- FastCGI ---- */

static void
put_request(struct buf *b, const struct input *in, unsigned cut, bool keep)
{
	struct buf variables = BUF_INIT;
	size_t piece = cut ? cut : 4096;

	for (size_t i = 0; i < in->count; i++) {
		const char *text = in->variables[i];
		const char *equals = memchr(text, '=', in->lens[i]);
		size_t name = (size_t)(equals - text);

		fastcgi_param(&variables, slice_make(text, name),
		              slice_make(equals + 1, in->lens[i] - name - 1));
	}
	fastcgi_begin(b, keep, 1);
	fastcgi_stream(b, FASTCGI_PARAMS, buf_slice(&variables), piece);
	fastcgi_stream(b, FASTCGI_BODY, in->body, piece);
	buf_release(&variables);
}

static void
send_all(int fd, struct slice bytes)
{
	while (bytes.len) {
		ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return; /* answered from the head, and closed */
		bytes = slice_make(bytes.data + n, bytes.len - (size_t)n);
	}
}

/* A fuzzer's alarm interrupts calls. */
static ssize_t
receive_some(int fd, void *to, size_t len)
{
	ssize_t n;

	do
		n = recv(fd, to, len, 0);
	while (n < 0 && errno == EINTR);
	return n;
}

static void
receive(int fd, void *to, size_t len)
{
	unsigned char *at = to;

	while (len) {
		ssize_t n = receive_some(fd, at, len);

		REQUIRE(n > 0);
		at += n;
		len -= (size_t)n;
	}
}

/* Reads the records of one answer; what they hold goes to out. */
static void
read_answer(int fd, struct buf *out)
{
	unsigned char head[8], padding[255];

	do {
		size_t len;

		receive(fd, head, sizeof(head));
		len = (size_t)head[4] << 8 | head[5];
		REQUIRE(head[0] == 1 && !head[2] && head[3] == 1);
		REQUIRE(head[1] == 6 || (head[1] == 7 && !len) ||
		        (head[1] == 3 && len == 8));
		REQUIRE(!buf_reserve(out, len, NULL));
		receive(fd, out->data + out->len, len);
		if (head[1] == 6)
			out->len += len;
		receive(fd, padding, head[6]);
	} while (head[1] != 3);
}

/* Sends a request, its first bytes before the others; the answer is in out. */
static void
exchange(int fd, struct slice stream, size_t first, struct buf *out)
{
	send_all(fd, slice_make(stream.data, first));
	send_all(fd, slice_make(stream.data + first, stream.len - first));
	buf_clear(out);
	read_answer(fd, out);
}

/* The responder's answer to in, twice if keep, is the one in want. */
static void
check_responder(struct input *in, const struct buf *want, struct slice stream,
                unsigned cut, bool keep)
{
	struct buf out = BUF_INIT, again = BUF_INIT;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t first = keep ? stream.len * cut / 256 : stream.len;
	char end;

	REQUIRE(fd >= 0);
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		REQUIRE(errno == EINTR || errno == EAGAIN);
	exchange(fd, stream, first, &out);
	REQUIRE(slice_equal(buf_slice(&out), buf_slice(want)));
	if (keep) {
		answer_here(in->variables, in->body, &again);
		exchange(fd, stream, first, &out);
		REQUIRE(slice_equal(buf_slice(&out), buf_slice(&again)));
		shutdown(fd, SHUT_WR);
	}
	REQUIRE(receive_some(fd, &end, 1) <= 0);
	close(fd);
	buf_release(&out);
	buf_release(&again);
}

/* ---- before libfcgi ---- */

/* However a stream is cut, its request ends at the same byte. */
static void
check_stream(struct slice stream, unsigned cut)
{
	struct record_scan whole = RECORD_SCAN_INIT, pieces = RECORD_SCAN_INIT;
	struct record_scan bytes = RECORD_SCAN_INIT;
	size_t piece = cut + 1u, end = stream.len;
	bool done = record_scan(&whole, stream);

	REQUIRE(done == whole.whole);
	for (size_t at = 0; at < stream.len; at++) {
		bool was = bytes.whole;

		REQUIRE(record_rest(&bytes) >= 1);
		record_scan(&bytes, slice_make(stream.data + at, 1));
		if (bytes.whole && !was)
			end = at + 1;
		REQUIRE(!was || bytes.whole);
	}
	REQUIRE(bytes.whole == done && bytes.head_whole == whole.head_whole);
	for (size_t at = 0; at < stream.len; at += piece) {
		size_t n = stream.len - at < piece ? stream.len - at : piece;

		REQUIRE(record_scan(&pieces, slice_make(stream.data + at, n)) ==
		        (done && at + n >= end));
	}
}

/* A request that is read without libfcgi ends there, too, and stays within. */
static void
check_whole(struct slice stream)
{
	unsigned char *bytes = malloc(stream.len + 1);
	struct record_scan scan = RECORD_SCAN_INIT;
	struct request r = { .method = METHOD_OTHER };
	struct whole w;

	REQUIRE(bytes);
	memcpy(bytes, stream.data, stream.len);
	if (whole_find(slice_make(bytes, stream.len), &w)) {
		REQUIRE(w.len <= stream.len);
		REQUIRE(!record_scan(&scan, slice_make(bytes, w.len - 1)));
		REQUIRE(record_scan(&scan, slice_make(bytes + w.len - 1, 1)));
		if (whole_read(bytes, &w, &r)) {
			const char *end = (const char *)bytes + w.len;

			REQUIRE(!*r.query || r.query + strlen(r.query) < end);
			REQUIRE(!r.host || r.host + strlen(r.host) < end);
		}
		request_release(&r);
	}
	free(bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf answer = BUF_INIT, stream = BUF_INIT;
	struct record_scan scan = RECORD_SCAN_INIT;
	struct input in;
	int status;

	if (size < 2 || size > INPUT_MAX)
		return 0;
	if (!(data[0] & 3)) {
		check_stream(slice_make(data + 2, size - 2), data[1]);
		check_whole(slice_make(data + 2, size - 2));
		return 0;
	}
	if (!api)
		start();
	input_read(&in, slice_make(data + 2, size - 2));
	status = answer_here(in.variables, in.body, &answer);
	put_request(&stream, &in, data[1], (data[0] & 3) == 3);
	/* Our own look at the records of a whole request sees its end. */
	REQUIRE(!record_scan(&scan, slice_make(stream.data, stream.len - 1)));
	REQUIRE(record_scan(&scan,
	                    slice_make(stream.data + stream.len - 1, 1)));
	if (data[0] & 2)
		check_responder(&in, &answer, buf_slice(&stream), data[1],
		                (data[0] & 3) == 3);
	if (status == 200 && here.to && fake_engine_count(here.to))
		check_kept(&in);
	forward_empty(&here);
	forward_empty(&there);
	free(in.memory);
	buf_release(&answer);
	buf_release(&stream);
	return 0;
}
