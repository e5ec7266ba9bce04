/* SPDX-License-Identifier: ISC */
/*
 * Outcomes and error messages: the texts of the codes and the one buffer
 * that travels up with a failure.
 *
 * Every message is first made in a buffer of its own, since its arguments may
 * point into the message that it replaces. A message that does not fit is cut
 * at its end, where the innermost and longest parts are.
 */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *
err_word(int code)
{
	switch (code) {
#define X(name, value, word, text)                                             \
	case name:                                                             \
		return word;
		LSMKV_CODES(X)
#undef X
	}
	return "unknown";
}

const char *
err_text(int code)
{
	switch (code) {
#define X(name, value, word, text)                                             \
	case name:                                                             \
		return text;
		LSMKV_CODES(X)
#undef X
	}
	return "an unknown outcome";
}

static void
store_message(struct err *err, int code, const char *message)
{
	if (!err)
		return;
	err->code = code;
	memcpy(err->message, message, strlen(message) + 1);
}

int
err_set(struct err *err, int code, const char *format, ...)
{
	char message[ERR_MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	store_message(err, code, message);
	return code;
}

static int
code_of_errno(int errno_value)
{
	switch (errno_value) {
	case ENOSPC:
	case EDQUOT:
		return LSMKV_ENOSPC;
	case EROFS:
		return LSMKV_EROFS;
	case ENOMEM:
		return LSMKV_ENOMEM;
	default:
		return LSMKV_EIO;
	}
}

int
err_set_errno(struct err *err, int errno_value, const char *format, ...)
{
	char message[ERR_MESSAGE_MAX], text[ERR_MESSAGE_MAX], reason[96];
	int code = code_of_errno(errno_value);
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* The reason must survive, however long the path before it is. */
	snprintf(message, sizeof(message), "%.*s: %s",
	         (int)(sizeof(message) - sizeof(reason) - 2), text,
	         strerror_r(errno_value, reason, sizeof(reason)));
	store_message(err, code, message);
	return code;
}

void
err_prepend(struct err *err, const char *format, ...)
{
	char message[2 * ERR_MESSAGE_MAX + 2], context[ERR_MESSAGE_MAX];
	va_list args;

	if (!err)
		return;
	va_start(args, format);
	vsnprintf(context, sizeof(context), format, args);
	va_end(args);
	snprintf(message, sizeof(message), "%s: %s", context, err->message);
	message[ERR_MESSAGE_MAX - 1] = '\0';
	store_message(err, err->code, message);
}

int
err_nomem(struct err *err, unsigned long bytes)
{
	return err_set(err, LSMKV_ENOMEM, "out of memory (%lu bytes wanted)",
	               bytes);
}
