#include "daemon/net/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* The name registered for PostgreSQL, as a length-prefixed list. */
static const unsigned char alpn_postgresql[] = "\012postgresql";
enum { ALPN_LEN = sizeof(alpn_postgresql) - 1 };

static const char *tls_last_error(void)
{
	static _Thread_local char text[256];
	unsigned long code = ERR_peek_last_error();

	if (code == 0)
		return "connection closed during the handshake";
	ERR_error_string_n(code, text, sizeof(text));
	ERR_clear_error();
	return text;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen,
		   const unsigned char *in, unsigned int inlen, void *arg)
{
	unsigned char *chosen;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&chosen, outlen, alpn_postgresql, ALPN_LEN,
				  in, inlen) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *tls_context(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (ctx == NULL)
		abort();
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
				     SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* An idle session keeps no record buffers. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS |
				  SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return ctx;
}

static bool tls_load(SSL_CTX *ctx, const char *cert, const char *key,
		     struct problem *p)
{
	const char *private_key = key != NULL ? key : cert;

	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		return problem_set(p, "58P01", "cannot load certificate %s: %s",
				   cert, tls_last_error());
	if (SSL_CTX_use_PrivateKey_file(ctx, private_key, SSL_FILETYPE_PEM) !=
	    1)
		return problem_set(p, "58P01", "cannot load private key %s: %s",
				   private_key, tls_last_error());
	if (SSL_CTX_check_private_key(ctx) != 1)
		return problem_set(p, "F0000",
				   "private key %s does not match %s: %s",
				   private_key, cert, tls_last_error());
	return true;
}

static bool tls_trust(SSL_CTX *ctx, const char *ca, struct problem *p)
{
	ERR_clear_error();
	if (SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1)
		return problem_set(p, "58P01",
				   "cannot load certificates of %s:"
				   " %s",
				   ca, tls_last_error());
	return true;
}

static bool tls_listen_context(const struct listen_setting *l, SSL_CTX **ret,
			       struct problem *p)
{
	SSL_CTX *ctx;

	if (l->tls.mode == CLIENT_TLS_OFF)
		return true;
	if (l->tls.cert == NULL)
		return problem_set(p, "F0000",
				   "listen: tls needs `cert` and `key`");
	ctx = tls_context(TLS_server_method());
	*ret = ctx;
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	if (!tls_load(ctx, l->tls.cert, l->tls.key, p))
		return false;
	if (l->tls.client_ca == NULL)
		return true;
	if (!tls_trust(ctx, l->tls.client_ca, p))
		return false;
	SSL_CTX_set_client_CA_list(ctx,
				   SSL_load_client_CA_file(l->tls.client_ca));
	SSL_CTX_set_verify(
	    ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return true;
}

/* As libpq: `require` with a root certificate verifies as verify-ca does. */
static bool tls_server_context(const struct settings *s, struct tls_setup *t,
			       struct problem *p)
{
	bool verify = s->server.tls_mode >= SERVER_TLS_VERIFY_CA ||
		      (s->server.tls_mode == SERVER_TLS_REQUIRE &&
		       s->server.root_cert != NULL);

	if (s->server.tls_mode == SERVER_TLS_DISABLE)
		return true;
	t->server = tls_context(TLS_client_method());
	t->check_name = s->server.tls_mode == SERVER_TLS_VERIFY_FULL;
	SSL_CTX_set_alpn_protos(t->server, alpn_postgresql, ALPN_LEN);
	if (s->server.cert != NULL &&
	    !tls_load(t->server, s->server.cert, s->server.key, p))
		return false;
	if (!verify)
		return true;
	if (s->server.root_cert == NULL)
		return problem_set(p, "F0000",
				   "server: tls mode verify-ca and verify-full "
				   "need `root_cert`");
	SSL_CTX_set_verify(t->server, SSL_VERIFY_PEER, NULL);
	return tls_trust(t->server, s->server.root_cert, p);
}

bool tls_setup_create(const struct settings *settings, struct tls_setup **ret,
		      struct problem *p)
{
	struct tls_setup *t = calloc(1, sizeof(*t));
	bool ok = true;

	if (t == NULL)
		abort();
	atomic_init(&t->refs, 1);
	t->n_listen = settings->n_listen;
	t->listen = calloc(t->n_listen + 1, sizeof(SSL_CTX *));
	if (t->listen == NULL)
		abort();
	for (size_t i = 0; ok && i < t->n_listen; i++)
		ok = tls_listen_context(&settings->listen[i], &t->listen[i], p);
	if (!ok || !tls_server_context(settings, t, p)) {
		tls_setup_unref(t);
		return false;
	}
	*ret = t;
	return true;
}

struct tls_setup *tls_setup_ref(struct tls_setup *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void tls_setup_unref(struct tls_setup *t)
{
	if (t == NULL)
		return;
	if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (size_t i = 0; i < t->n_listen; i++)
		SSL_CTX_free(t->listen[i]);
	SSL_CTX_free(t->server);
	free(t->listen);
	free(t);
}

static struct tls *tls_create(SSL_CTX *ctx)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (t == NULL)
		abort();
	t->ssl = SSL_new(ctx);
	t->in = BIO_new(BIO_s_mem());
	t->out = BIO_new(BIO_s_mem());
	if (t->ssl == NULL || t->in == NULL || t->out == NULL)
		abort();
	SSL_set_bio(t->ssl, t->in, t->out);
	return t;
}

struct tls *tls_accept(SSL_CTX *ctx, bool direct)
{
	struct tls *t = tls_create(ctx);

	t->direct = direct;
	SSL_set_accept_state(t->ssl);
	return t;
}

struct tls *tls_connect(const struct tls_setup *setup, const char *name)
{
	struct tls *t = tls_create(setup->server);
	X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
	bool is_address = X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;

	/* Server Name Indication must not hold an address (RFC 6066). */
	if (!is_address)
		SSL_set_tlsext_host_name(t->ssl, name);
	if (!setup->check_name)
		X509_VERIFY_PARAM_set1_ip(param, NULL, 0);
	else if (!is_address)
		SSL_set1_host(t->ssl, name);
	SSL_set_connect_state(t->ssl);
	return t;
}

void tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_free(t->ssl);
	free(t);
}

void tls_feed(struct tls *t, const void *encrypted, size_t len)
{
	if (len > 0 && BIO_write(t->in, encrypted, (int)len) != (int)len)
		abort();
}

static enum tls_result tls_judge(struct tls *t, int rc)
{
	switch (SSL_get_error(t->ssl, rc)) {
	case SSL_ERROR_NONE:
		return TLS_OK;
	case SSL_ERROR_WANT_READ:
		return TLS_MORE;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_EOF;
	default:
		return TLS_BAD;
	}
}

enum tls_result tls_handshake(struct tls *t)
{
	enum tls_result r;
	const unsigned char *alpn;
	unsigned int alpn_len;

	ERR_clear_error();
	r = tls_judge(t, SSL_do_handshake(t->ssl));
	if (r != TLS_OK)
		return r;
	SSL_get0_alpn_selected(t->ssl, &alpn, &alpn_len);
	if (t->direct && alpn_len == 0)
		return TLS_BAD;
	t->secured = true;
	return TLS_OK;
}

enum tls_result tls_read(struct tls *t, void *plain, size_t size,
			 size_t *ret_len)
{
	enum tls_result r;
	size_t n = 0;

	ERR_clear_error();
	r = tls_judge(t, SSL_read_ex(t->ssl, plain, size, &n));
	if (n == 0)
		return r == TLS_OK ? TLS_MORE : r;
	*ret_len = n;
	return TLS_OK;
}

enum tls_result tls_write(struct tls *t, const void *plain, size_t len)
{
	const uint8_t *at = plain;
	enum tls_result r;
	size_t n;

	ERR_clear_error();
	while (len > 0) {
		n = 0;
		r = tls_judge(t, SSL_write_ex(t->ssl, at, len, &n));
		if (n == 0)
			return r == TLS_OK ? TLS_BAD : r;
		at += n;
		len -= n;
	}
	return TLS_OK;
}

void tls_shutdown(struct tls *t)
{
	ERR_clear_error();
	if (t->secured)
		(void)SSL_shutdown(t->ssl);
}

const char *tls_reason(struct tls *t)
{
	long verify = SSL_get_verify_result(t->ssl);

	if (SSL_get_verify_mode(t->ssl) != SSL_VERIFY_NONE &&
	    verify != X509_V_OK)
		return X509_verify_cert_error_string(verify);
	if (t->direct && ERR_peek_last_error() == 0)
		return "direct TLS without ALPN \"postgresql\"";
	return tls_last_error();
}
