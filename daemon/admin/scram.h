/*
 * The server's side of SCRAM-SHA-256, from a stored secret (RFC 5802, RFC
 * 7677; PostgreSQL documentation, "SASL Authentication").  No channel
 * binding: the admin port has no TLS.
 *
 * Pure: messages in, messages out.  Neither this side nor anybody who reads
 * the secret learns the password.  A user who does not exist gets the same
 * exchange as one with a wrong password, from a made-up secret that is the
 * same each time.
 */
#ifndef DAEMON_ADMIN_SCRAM_H
#define DAEMON_ADMIN_SCRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCRAM_MECHANISM "SCRAM-SHA-256"

enum {
	SCRAM_HASH = 32,
	SCRAM_MAX_SALT = 64,
	SCRAM_MAX_MESSAGE = 1024, /* either side's */
	SCRAM_NONCE = 32,	  /* printable characters of ours */
	SCRAM_MOCK_ITERATIONS = 4096,
};

struct scram_secret {
	unsigned iterations;
	uint8_t salt[SCRAM_MAX_SALT];
	size_t salt_len;
	uint8_t stored_key[SCRAM_HASH];
	uint8_t server_key[SCRAM_HASH];
	bool mock; /* no proof can be right */
};

/* As PostgreSQL stores it: "SCRAM-SHA-256$iter:salt$stored:server". */
bool scram_secret_parse(const char *text, struct scram_secret *ret)
    __attribute__((warn_unused_result));
/* For a user who does not exist; `seed` is random, once per process. */
void scram_secret_mock(const char *user, const uint8_t seed[SCRAM_HASH],
		       unsigned iterations, struct scram_secret *ret);

/* Random printable characters, NUL-terminated. */
bool scram_make_nonce(char ret[SCRAM_NONCE + 1])
    __attribute__((warn_unused_result));

struct scram {
	struct scram_secret secret;
	char nonce[SCRAM_NONCE + 1];
	/* client-first-message-bare "," server-first-message; what the proof
	 * is over begins with it */
	char auth[2 * SCRAM_MAX_MESSAGE];
	char full_nonce[SCRAM_MAX_MESSAGE];
	char gs2_header[8];
};

enum scram_result {
	SCRAM_OK = 1,
	SCRAM_BAD,   /* not a message of this protocol */
	SCRAM_WRONG, /* the password is not the secret's */
};

void scram_begin(struct scram *s, const struct scram_secret *secret,
		 const char *nonce);
/* client-first-message in, server-first-message out (NUL-terminated). */
enum scram_result scram_first(struct scram *s, const char *msg, size_t len,
			      char ret[SCRAM_MAX_MESSAGE])
    __attribute__((warn_unused_result));
/* client-final-message in, server-final-message out. */
enum scram_result scram_final(struct scram *s, const char *msg, size_t len,
			      char ret[SCRAM_MAX_MESSAGE])
    __attribute__((warn_unused_result));

#endif
