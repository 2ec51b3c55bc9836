/*
 * The exchange of RFC 7677, section 3, and what must not pass.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "daemon/admin/scram.h"

#define SALT	     "W22ZaJ0SNY7soEsUEjb6gQ=="
#define CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define CLIENT_FIRST "n,,n=user,r=" CLIENT_NONCE

static void base64(const uint8_t *bytes, char *ret)
{
	EVP_EncodeBlock((unsigned char *)ret, bytes, SCRAM_HASH);
}

static void keyed(const uint8_t *key, const char *text, uint8_t *ret)
{
	unsigned n = SCRAM_HASH;

	assert_non_null(HMAC(EVP_sha256(), key, SCRAM_HASH,
			     (const uint8_t *)text, strlen(text), ret, &n));
}

/* What a client derives from its password (RFC 5802, section 3). */
struct client {
	uint8_t client_key[SCRAM_HASH], stored_key[SCRAM_HASH];
	uint8_t server_key[SCRAM_HASH];
};

static void client_make(const char *password, struct client *c)
{
	uint8_t salt[18], salted[SCRAM_HASH];

	assert_int_equal(
	    EVP_DecodeBlock(salt, (const uint8_t *)SALT, (int)strlen(SALT)),
	    18);
	assert_int_equal(
	    PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, 16, 4096,
			      EVP_sha256(), SCRAM_HASH, salted),
	    1);
	keyed(salted, "Client Key", c->client_key);
	keyed(salted, "Server Key", c->server_key);
	SHA256(c->client_key, SCRAM_HASH, c->stored_key);
}

static void secret_make(const char *password, struct scram_secret *ret)
{
	char stored[64], server[64], text[256];
	struct client c;

	client_make(password, &c);
	base64(c.stored_key, stored);
	base64(c.server_key, server);
	snprintf(text, sizeof(text), "SCRAM-SHA-256$4096:%s$%s:%s", SALT,
		 stored, server);
	assert_true(scram_secret_parse(text, ret));
}

/* The client's last message for what the server said first. */
static void final_make(const char *password, const char *server_first,
		       const char *binding, char *ret, size_t size)
{
	uint8_t signature[SCRAM_HASH];
	char without[512], auth[2048], proof[64];
	const char *nonce_end = strchr(server_first, ',');
	struct client c;

	client_make(password, &c);
	snprintf(without, sizeof(without), "c=%s,%.*s", binding,
		 (int)(nonce_end - server_first), server_first);
	snprintf(auth, sizeof(auth), "n=user,r=" CLIENT_NONCE ",%s,%s",
		 server_first, without);
	keyed(c.stored_key, auth, signature);
	for (size_t i = 0; i < SCRAM_HASH; i++)
		signature[i] ^= c.client_key[i];
	base64(signature, proof);
	snprintf(ret, size, "%s,p=%s", without, proof);
}

static void the_example_of_the_rfc_is_reproduced(void **state)
{
	static const char last[] =
	    "c=biws,r=" CLIENT_NONCE SERVER_NONCE
	    ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
	struct scram s;
	struct scram_secret secret;
	char reply[SCRAM_MAX_MESSAGE];

	secret_make("pencil", &secret);
	scram_begin(&s, &secret, SERVER_NONCE);
	assert_int_equal(
	    scram_first(&s, CLIENT_FIRST, strlen(CLIENT_FIRST), reply),
	    SCRAM_OK);
	assert_string_equal(
	    reply, "r=" CLIENT_NONCE SERVER_NONCE ",s=" SALT ",i=4096");
	assert_int_equal(scram_final(&s, last, strlen(last), reply), SCRAM_OK);
	assert_string_equal(reply,
			    "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

/* Runs the exchange with a password and a channel binding of the client's. */
static enum scram_result exchange(const struct scram_secret *secret,
				  const char *password, const char *first,
				  const char *binding)
{
	struct scram s;
	char reply[SCRAM_MAX_MESSAGE], last[1024];

	scram_begin(&s, secret, SERVER_NONCE);
	if (scram_first(&s, first, strlen(first), reply) != SCRAM_OK)
		return SCRAM_BAD;
	final_make(password, reply, binding, last, sizeof(last));
	return scram_final(&s, last, strlen(last), reply);
}

static void a_password_is_right_or_wrong(void **state)
{
	struct scram_secret secret;

	secret_make("pencil", &secret);
	assert_int_equal(exchange(&secret, "pencil", CLIENT_FIRST, "biws"),
			 SCRAM_OK);
	assert_int_equal(exchange(&secret, "Pencil", CLIENT_FIRST, "biws"),
			 SCRAM_WRONG);
	assert_int_equal(exchange(&secret, "", CLIENT_FIRST, "biws"),
			 SCRAM_WRONG);
}

static void the_binding_repeats_the_header(void **state)
{
	struct scram_secret secret;

	secret_make("pencil", &secret);
	assert_int_equal(
	    exchange(&secret, "pencil", "y,,n=user,r=" CLIENT_NONCE, "eSws"),
	    SCRAM_OK);
	assert_int_equal(
	    exchange(&secret, "pencil", "y,,n=user,r=" CLIENT_NONCE, "biws"),
	    SCRAM_BAD);
	assert_int_equal(exchange(&secret, "pencil", CLIENT_FIRST, "eSws"),
			 SCRAM_BAD);
}

static void no_proof_fits_a_user_who_does_not_exist(void **state)
{
	static const uint8_t seed[SCRAM_HASH] = {1, 2, 3};
	struct scram_secret a, again, other;

	scram_secret_mock("nobody", seed, 5000, &a);
	scram_secret_mock("nobody", seed, 5000, &again);
	scram_secret_mock("somebody", seed, 5000, &other);
	assert_int_equal(a.iterations, 5000);
	assert_int_equal(a.salt_len, 16);
	assert_memory_equal(a.salt, again.salt, 16);
	assert_memory_not_equal(a.salt, other.salt, 16);
	assert_int_equal(exchange(&a, "", CLIENT_FIRST, "biws"), SCRAM_WRONG);
}

static void malformed_first_messages_are_refused(void **state)
{
	static const char *const texts[] = {
	    "",
	    "n",
	    "n,",
	    "n,,",
	    "n,,n=",
	    "n,,n=user",
	    "n,,n=user,",
	    "n,,n=user,r",
	    "n,,n=user,r=",
	    "n,,r=abc",
	    "p=tls-unique,,n=u,r=a",
	    "n,a=admin,n=user,r=abc",
	    "n,,m=x,n=user,r=abc",
	    "n,,n=user,r=a b",
	    "n,,n=user,r=\x80",
	    "x,,n=user,r=abc",
	};
	struct scram_secret secret;
	char reply[SCRAM_MAX_MESSAGE];
	struct scram s;

	secret_make("pencil", &secret);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		scram_begin(&s, &secret, SERVER_NONCE);
		if (scram_first(&s, texts[i], strlen(texts[i]), reply) !=
		    SCRAM_BAD)
			fail_msg("accepted: %s", texts[i]);
	}
}

static void malformed_last_messages_are_refused(void **state)
{
	static const char *const texts[] = {
	    "",
	    "c=biws",
	    "c=biws,r=",
	    "c=biws,r=wrong,p=AAAA",
	    "c=biws,r=" CLIENT_NONCE SERVER_NONCE,
	    "c=biws,r=" CLIENT_NONCE SERVER_NONCE ",p=",
	    "c=biws,r=" CLIENT_NONCE SERVER_NONCE ",p=AAAA",
	    "c=biws,r=" CLIENT_NONCE SERVER_NONCE ",p=****",
	    "c=biws,r=" CLIENT_NONCE SERVER_NONCE ",x=1",
	};
	struct scram_secret secret;
	char reply[SCRAM_MAX_MESSAGE];
	struct scram s;

	secret_make("pencil", &secret);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		scram_begin(&s, &secret, SERVER_NONCE);
		assert_int_equal(
		    scram_first(&s, CLIENT_FIRST, strlen(CLIENT_FIRST), reply),
		    SCRAM_OK);
		if (scram_final(&s, texts[i], strlen(texts[i]), reply) !=
		    SCRAM_BAD)
			fail_msg("accepted: %s", texts[i]);
	}
}

static void secrets_are_read_strictly(void **state)
{
#define KEY "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	static const struct {
		const char *text;
		bool ok;
	} cases[] = {
	    {"SCRAM-SHA-256$4096:" SALT "$" KEY ":" KEY, true},
	    {"SCRAM-SHA-256$1:AAAA$" KEY ":" KEY, true},
	    {"", false},
	    {"md5abc", false},
	    {"SCRAM-SHA-1$4096:" SALT "$" KEY ":" KEY, false},
	    {"SCRAM-SHA-256$0:" SALT "$" KEY ":" KEY, false},
	    {"SCRAM-SHA-256$-4:" SALT "$" KEY ":" KEY, false},
	    {"SCRAM-SHA-256$4096:$" KEY ":" KEY, false},
	    {"SCRAM-SHA-256$4096:" SALT "$" KEY, false},
	    {"SCRAM-SHA-256$4096:" SALT "$" KEY ":AAAA", false},
	    {"SCRAM-SHA-256$4096:" SALT "$" KEY ":" KEY "AAAA", false},
	    {"SCRAM-SHA-256$99999999999:" SALT "$" KEY ":" KEY, false},
	};
	struct scram_secret s;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (scram_secret_parse(cases[i].text, &s) != cases[i].ok)
			fail_msg("wrong: %s", cases[i].text);
}

static void a_nonce_is_printable_and_new(void **state)
{
	char a[SCRAM_NONCE + 1], b[SCRAM_NONCE + 1];

	assert_true(scram_make_nonce(a));
	assert_true(scram_make_nonce(b));
	assert_int_equal(strlen(a), SCRAM_NONCE);
	assert_string_not_equal(a, b);
	assert_null(strchr(a, ','));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_example_of_the_rfc_is_reproduced),
	    cmocka_unit_test(a_password_is_right_or_wrong),
	    cmocka_unit_test(the_binding_repeats_the_header),
	    cmocka_unit_test(no_proof_fits_a_user_who_does_not_exist),
	    cmocka_unit_test(malformed_first_messages_are_refused),
	    cmocka_unit_test(malformed_last_messages_are_refused),
	    cmocka_unit_test(secrets_are_read_strictly),
	    cmocka_unit_test(a_nonce_is_printable_and_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
