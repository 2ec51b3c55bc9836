/*
 * Cutting a byte stream into protocol messages.
 *
 * Owns nothing: a frame borrows from the bytes it was cut from.  Must never
 * know what a message means beyond its length.  A length field is checked
 * here before anything is sized by it.  Unless FRAME_OK is returned, `ret` is
 * untouched.
 *
 * PostgreSQL documentation, "Frontend/Backend Protocol", sections "Message
 * Formats" and "Start-up".
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

/*
 * No PostgreSQL server or libpq can hold a longer message: MaxAllocSize.
 * Also keeps frame.size far from overflowing.
 */
#define FRAME_BODY_MAX 0x3fffffffu

/* A start-up packet without its length: the code, and the server's
 * MAX_STARTUP_PACKET_LENGTH. */
#define FRAME_STARTUP_BODY_MIN 4u
#define FRAME_STARTUP_BODY_MAX 10000u

enum frame_result {
	FRAME_OK = 1, /* ret_ is filled */
	FRAME_MORE,   /* not enough bytes yet */
	FRAME_BAD,    /* the length field cannot be true: drop the peer */
};

struct frame {
	char type;	     /* 0 for a start-up packet */
	uint32_t size;	     /* whole message in bytes, type included */
	const uint8_t *body; /* borrowed: behind the header */
	uint32_t body_len;
};

/*
 * Header only: needs 5 bytes, the body need not be there (ret->body may point
 * past `len`).  For streaming messages that are forwarded as they come.
 */
enum frame_result frame_peek(const uint8_t *data, size_t len, struct frame *ret)
    __attribute__((warn_unused_result));

/* A whole message of at most max_body bytes of body; longer is FRAME_BAD. */
enum frame_result frame_next(const uint8_t *data, size_t len, uint32_t max_body,
			     struct frame *ret)
    __attribute__((warn_unused_result));

/*
 * A start-up packet, which has no type byte: StartupMessage, SSLRequest,
 * GSSENCRequest, CancelRequest.
 */
enum frame_result frame_next_startup(const uint8_t *data, size_t len,
				     struct frame *ret)
    __attribute__((warn_unused_result));

#endif
