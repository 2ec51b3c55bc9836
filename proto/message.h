/*
 * Decoding and encoding the messages that pgtandem looks into; all others
 * are carried as bytes.
 *
 * Owns nothing: decoded strings and arrays borrow from the frame's body.
 * Every decoder checks every length against the body and returns false on
 * anything that does not fit exactly; `ret` is then untouched.  The caller
 * has chosen the decoder by f->type, and by the side that the frame came from
 * (an 'E' is an Execute or an ErrorResponse): decoders do not look at it.
 *
 * PostgreSQL documentation, "Frontend/Backend Protocol", "Message Formats".
 */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/buf.h"
#include "proto/frame.h"

/* Start-up codes, in the place of the protocol version. */
enum {
	STARTUP_CANCEL = 80877102, /* 1234.5678 */
	STARTUP_SSL = 80877103,
	STARTUP_GSSENC = 80877104,
	STARTUP_V3 = 196608, /* 3.0; minor versions add to it */
};

/* What follows AuthenticationXXX's length. */
enum {
	AUTH_OK = 0,
	AUTH_CLEARTEXT = 3,
	AUTH_MD5 = 5,
	AUTH_SASL = 10,
	AUTH_SASL_CONTINUE = 11,
	AUTH_SASL_FINAL = 12,
};

/* A NUL-terminated string inside a message; len without the NUL. */
struct mstr {
	const char *s;
	uint32_t len;
};

struct msg_startup {
	uint32_t code;		   /* one of STARTUP_*, or 3.x */
	uint32_t cancel_pid;	   /* STARTUP_CANCEL only */
	const uint8_t *cancel_key; /* borrowed; 4 bytes, up to 256 in 3.2 */
	uint32_t cancel_key_len;
	struct mstr user;     /* 3.x only; empty if absent */
	struct mstr database; /* empty if absent: then it is the user */
	struct mstr application_name;
	struct mstr replication; /* empty if absent */
	const uint8_t *params;	 /* 3.x only; borrowed: name, value, ..., NUL */
	uint32_t params_len;
};

struct msg_query {
	struct mstr sql;
};

struct msg_parse {
	struct mstr name;
	struct mstr sql;
	uint16_t n_types;
	const uint8_t *types; /* borrowed: n_types Oids, network order */
};

struct msg_bind {
	struct mstr portal;
	struct mstr statement;
	uint32_t formats_at; /* body offset of the count of result formats */
	uint16_t n_result_formats;
	const uint8_t *result_formats; /* borrowed: int16s, network order */
};

struct msg_target { /* Describe, Close */
	char kind;  /* 'S' or 'P' */
	struct mstr name;
};

struct msg_execute {
	struct mstr portal;
	uint32_t max_rows;
};

struct msg_sasl_initial {
	struct mstr mechanism;
	const uint8_t *data; /* borrowed; NULL if absent */
	uint32_t data_len;
};

struct msg_auth {
	uint32_t code;	     /* AUTH_*, or one that only the peers know */
	const uint8_t *data; /* borrowed: what follows the code */
	uint32_t data_len;
};

/* BackendKeyData: what a CancelRequest must carry. */
struct msg_key {
	uint32_t pid;
	const uint8_t *key; /* borrowed; 4 bytes, up to 256 in 3.2 */
	uint32_t key_len;
};

/* The fields of an ErrorResponse or NoticeResponse; .s is NULL if absent. */
struct msg_error {
	struct mstr severity;	/* 'V', else 'S' */
	struct mstr sqlstate;	/* 'C' */
	struct mstr message;	/* 'M' */
	struct mstr detail;	/* 'D' */
	struct mstr hint;	/* 'H' */
	struct mstr position;	/* 'P' */
	struct mstr schema;	/* 's' */
	struct mstr table;	/* 't' */
	struct mstr column;	/* 'c' */
	struct mstr constraint; /* 'n' */
	struct mstr context;	/* 'W' */
	const uint8_t *fields;	/* borrowed: the body, final NUL and all */
	uint32_t fields_len;
};

#define MSG_CHECKED __attribute__((warn_unused_result))

/* From the client. */
MSG_CHECKED bool msg_startup_decode(const struct frame *f,
				    struct msg_startup *ret);
/* Looks up one start-up parameter (the last of that name, as the server
 * does); false if absent. */
MSG_CHECKED bool msg_startup_param(const struct msg_startup *m,
				   const char *name, struct mstr *ret);
MSG_CHECKED bool msg_query_decode(const struct frame *f, struct msg_query *ret);
MSG_CHECKED bool msg_parse_decode(const struct frame *f, struct msg_parse *ret);
MSG_CHECKED bool msg_bind_decode(const struct frame *f, struct msg_bind *ret);
MSG_CHECKED bool msg_target_decode(const struct frame *f,
				   struct msg_target *ret);
MSG_CHECKED bool msg_execute_decode(const struct frame *f,
				    struct msg_execute *ret);
/*
 * The three readings of a 'p': what the server asked for last says which.
 * A PasswordMessage is a string, a SASLResponse is all of its bytes.
 */
MSG_CHECKED bool msg_password_decode(const struct frame *f, struct mstr *ret);
MSG_CHECKED bool msg_sasl_initial_decode(const struct frame *f,
					 struct msg_sasl_initial *ret);
static inline struct mstr msg_sasl_response(const struct frame *f)
{
	return (struct mstr){(const char *)f->body, f->body_len};
}

/* From the server. */
MSG_CHECKED bool msg_auth_decode(const struct frame *f, struct msg_auth *ret);
MSG_CHECKED bool msg_key_decode(const struct frame *f, struct msg_key *ret);
MSG_CHECKED bool msg_parameter_decode(const struct frame *f,
				      struct mstr *ret_name,
				      struct mstr *ret_value);
MSG_CHECKED bool msg_error_decode(const struct frame *f, struct msg_error *ret);
/*
 * RowDescription, DataRow: number of columns, and the body offset at which
 * the last `hidden` columns begin (the body's length when hidden is 0).
 * False also when there are fewer columns than `hidden`.
 */
MSG_CHECKED bool msg_row_description_cut(const struct frame *f, uint16_t hidden,
					 uint16_t *ret_columns,
					 uint32_t *ret_at);
MSG_CHECKED bool msg_data_row_cut(const struct frame *f, uint16_t hidden,
				  uint16_t *ret_columns, uint32_t *ret_at);
/* One column's value in a DataRow; a NULL gives ret->s == NULL.  Not
 * NUL-terminated.  False also when there is no such column. */
MSG_CHECKED bool msg_data_row_value(const struct frame *f, uint16_t column,
				    struct mstr *ret);

/* To the server. */
void msg_put_query(struct buf *b, const char *sql, size_t len);
void msg_put_parse(struct buf *b, const char *name, const char *sql, size_t len,
		   uint16_t n_types, const uint8_t *types);
/* No parameters, all results as text. */
void msg_put_bind_empty(struct buf *b, const char *portal, const char *stmt);
void msg_put_describe(struct buf *b, char kind, const char *name);
void msg_put_execute(struct buf *b, const char *portal, uint32_t max_rows);
void msg_put_close(struct buf *b, char kind, const char *name);
/* A message without a body, to either side: Sync, Flush, Terminate, ... */
void msg_put_simple(struct buf *b, char type);
void msg_put_cancel(struct buf *b, uint32_t pid, const uint8_t *key,
		    size_t key_len);
void msg_put_startup_code(struct buf *b, uint32_t code); /* SSLRequest */

/* To the client.  First, what msg_put_error writes. */
struct msg_fault {
	const char *severity; /* "ERROR", "FATAL", "NOTICE", ... */
	const char *sqlstate; /* five characters */
	const char *message;
	const char *detail; /* NULL: left out, as the next two */
	const char *hint;
	uint32_t position; /* 0: left out; in characters from 1 */
};
void msg_put_error(struct buf *b, char type, const struct msg_fault *e);
void msg_put_ready(struct buf *b, char status);
void msg_put_complete(struct buf *b, const char *tag);
void msg_put_auth(struct buf *b, uint32_t code, const void *data, size_t len);
/* AuthenticationSASL with one mechanism. */
void msg_put_sasl_offer(struct buf *b, const char *mechanism);
void msg_put_key(struct buf *b, uint32_t pid, const uint8_t *key,
		 size_t key_len);
/*
 * NegotiateProtocolVersion for a server of ours that speaks 3.0 and no
 * option: names every "_pq_." parameter of `m`.  Writes nothing if `m` asks
 * for no more than 3.0.
 */
void msg_put_negotiate(struct buf *b, const struct msg_startup *m);
void msg_put_parameter(struct buf *b, const char *name, const char *value);
/* A RowDescription of text columns (type 25), for the console. */
void msg_put_text_columns(struct buf *b, uint16_t n, const char *const *names);
/* A DataRow; a NULL pointer is a NULL. */
void msg_put_text_row(struct buf *b, uint16_t n, const char *const *values);

#endif
