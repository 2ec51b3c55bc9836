/*
 * TLS for both legs: contexts made from the settings, and a filter between
 * plain and encrypted bytes over memory BIOs.
 *
 * Owns no socket: conn.c moves the encrypted bytes.  Contexts are immutable
 * once made and shared by all workers through a reference count.
 */
#ifndef DAEMON_NET_TLS_H
#define DAEMON_NET_TLS_H

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/problem.h"
#include "config/settings.h"

/* Every context that the settings ask for. */
struct tls_setup {
	atomic_uint refs;
	size_t n_listen;
	SSL_CTX **listen; /* owned; NULL where the mode is off */
	SSL_CTX *server;  /* owned; NULL: never TLS to the server */
	bool check_name;  /* verify-full */
};

bool tls_setup_create(const struct settings *settings, struct tls_setup **ret,
		      struct problem *p) __attribute__((warn_unused_result));
struct tls_setup *tls_setup_ref(struct tls_setup *t);
void tls_setup_unref(struct tls_setup *t);

enum tls_result {
	TLS_OK = 1,
	TLS_MORE, /* needs bytes from the peer */
	TLS_EOF,  /* the peer closed the TLS session */
	TLS_BAD,  /* tls_reason says why */
};

struct tls {
	SSL *ssl;      /* owned, with both BIOs */
	BIO *in, *out; /* borrowed from ssl */
	bool secured;  /* the handshake is done */
	bool direct;   /* began without SSLRequest: ALPN is a must */
};

/* Life.  `name` is checked against the certificate where the setup says so;
 * NULL for the client leg. */
struct tls *tls_accept(SSL_CTX *ctx, bool direct);
struct tls *tls_connect(const struct tls_setup *setup, const char *name);
void tls_free(struct tls *t);

/* Use.  Encrypted bytes to send wait in t->out after any of these. */
void tls_feed(struct tls *t, const void *encrypted, size_t len);
enum tls_result tls_handshake(struct tls *t);
enum tls_result tls_read(struct tls *t, void *plain, size_t size,
			 size_t *ret_len);
enum tls_result tls_write(struct tls *t, const void *plain, size_t len);
void tls_shutdown(struct tls *t);
/* Why the last call gave TLS_BAD; a thread's own static text. */
const char *tls_reason(struct tls *t);

#endif
