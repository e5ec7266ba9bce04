/* SPDX-License-Identifier: ISC */
/* Plain CGI; see cgi.h. */
#include <errno.h>
#include <unistd.h>

#include "http/cgi.h"

/*
 * Reads the body, which is to be as long as the head says and no longer. A
 * server leaves standard input open, so not a byte more is asked for: what
 * is too long is only seen when there is no length. LSMKV_EINVAL if the body
 * is not what it should be.
 */
static int
read_body(int in, struct request *r, struct err *err)
{
	int rc = buf_reserve(&r->body, (size_t)r->length + 1, err);

	while (!rc && r->body.len < r->length) {
		ssize_t n = read(in, r->body.data + r->body.len,
		                 (size_t)r->length - r->body.len);

		if (n > 0)
			r->body.len += (size_t)n;
		else if (!n || errno != EINTR)
			rc = LSMKV_EINVAL;
	}
	return rc;
}

static int
write_all(int out, struct slice s, struct err *err)
{
	while (s.len) {
		ssize_t n = write(out, s.data, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(err, errno, "answer");
		s = slice_make(s.data + n, s.len - (size_t)n);
	}
	return 0;
}

int
cgi_answer(struct api *api, char *const *env, int in, int out,
           const struct err *failure, struct err *err)
{
	struct request r = { 0 };
	struct response res = { 0 };
	struct buf head = BUF_INIT;
	struct err body_err = ERR_INIT;
	int rc;

	request_read_env(&r, env);
	if (api_accepts(api, &r, &res)) {
		rc = read_body(in, &r, &body_err);
		if (rc == LSMKV_EINVAL)
			api_refuse_body(&r, &res);
		else if (rc)
			api_fail(api, &r, &res, &body_err);
		else if (failure)
			api_fail(api, &r, &res, failure);
		else
			api_answer(api, &r, &res);
	}
	rc = response_head(&res, &head, err);
	if (!rc)
		rc = write_all(out, buf_slice(&head), err);
	if (!rc)
		rc = write_all(out, response_payload(&res), err);
	buf_release(&head);
	response_release(&res);
	request_release(&r);
	return rc;
}
