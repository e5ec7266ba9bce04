/* SPDX-License-Identifier: ISC */
/*
 * Plain CGI: one request from the environment and standard input, one answer
 * on standard output.
 */
#ifndef LSMKV_HTTP_CGI_H
#define LSMKV_HTTP_CGI_H

#include "http/api.h"

/*
 * Answers the request in env and fd `in` on fd `out`. With failure, which
 * tells why there is no engine, that is the answer to everything that needs
 * one. Returns 0 unless the answer could not be written.
 */
int cgi_answer(struct api *api, char *const *env, int in, int out,
               const struct err *failure, struct err *err);

#endif
