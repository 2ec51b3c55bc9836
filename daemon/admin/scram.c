#include "daemon/admin/scram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECRET_MAX = 512, MOCK_SALT = 16, ITERATIONS_MAX = 10000000 };

/* -- base64, strict: EVP_DecodeBlock forgives too much -- */

static int base64_value(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* False if it is not base64 or does not fit into max bytes. */
static bool base64_decode(const char *s, size_t len, uint8_t *ret, size_t max,
			  size_t *ret_len)
{
	size_t n = 0, pad = 0;
	unsigned bits = 0;

	if (len == 0 || len % 4 != 0)
		return false;
	while (pad < 2 && s[len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < len - pad; i++) {
		int v = base64_value(s[i]);

		if (v < 0)
			return false;
		bits = bits << 6 | (unsigned)v;
		if (i % 4 == 0)
			continue;
		if (n == max)
			return false;
		ret[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
	}
	*ret_len = n;
	return true;
}

static bool decode_hash(const char *s, size_t len, uint8_t ret[SCRAM_HASH])
{
	size_t n;

	return base64_decode(s, len, ret, SCRAM_HASH, &n) && n == SCRAM_HASH;
}

/* ret has room for the 4 characters per 3 bytes, and a NUL. */
static void base64_encode(const uint8_t *bytes, size_t len, char *ret)
{
	EVP_EncodeBlock((unsigned char *)ret, bytes, (int)len);
}

static void hmac(const uint8_t key[SCRAM_HASH], const char *text, size_t len,
		 uint8_t ret[SCRAM_HASH])
{
	unsigned n = SCRAM_HASH;

	if (!HMAC(EVP_sha256(), key, SCRAM_HASH, (const uint8_t *)text, len,
		  ret, &n))
		abort(); /* only when out of memory */
}

/* -- secrets -- */

bool scram_secret_parse(const char *text, struct scram_secret *ret)
{
	static const char prefix[] = SCRAM_MECHANISM "$";
	struct scram_secret s = {0};
	const char *salt, *stored, *server;
	char *end;
	unsigned long n;

	if (strncmp(text, prefix, sizeof(prefix) - 1) != 0)
		return false;
	text += sizeof(prefix) - 1;
	n = strtoul(text, &end, 10);
	if (*text < '1' || *text > '9' || *end != ':' || n > ITERATIONS_MAX)
		return false;
	salt = end + 1;
	stored = strchr(salt, '$');
	server = stored ? strchr(stored, ':') : NULL;
	if (!server)
		return false;
	s.iterations = (unsigned)n;
	if (!base64_decode(salt, (size_t)(stored - salt), s.salt,
			   sizeof(s.salt), &s.salt_len) ||
	    !decode_hash(stored + 1, (size_t)(server - stored - 1),
			 s.stored_key) ||
	    !decode_hash(server + 1, strlen(server + 1), s.server_key))
		return false;
	*ret = s;
	return true;
}

void scram_secret_mock(const char *user, const uint8_t seed[SCRAM_HASH],
		       unsigned iterations, struct scram_secret *ret)
{
	uint8_t hash[SCRAM_HASH];

	hmac(seed, user, strlen(user), hash);
	*ret = (struct scram_secret){.iterations = iterations, .mock = true};
	ret->salt_len = MOCK_SALT;
	memcpy(ret->salt, hash, MOCK_SALT);
}

bool scram_make_nonce(char ret[SCRAM_NONCE + 1])
{
	uint8_t bytes[SCRAM_NONCE / 4 * 3];

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	base64_encode(bytes, sizeof(bytes), ret);
	return true;
}

/* -- the exchange -- */

void scram_begin(struct scram *s, const struct scram_secret *secret,
		 const char *nonce)
{
	memset(s, 0, sizeof(*s));
	s->secret = *secret;
	snprintf(s->nonce, sizeof(s->nonce), "%s", nonce);
}

/* One "x=value" of a message: RFC 5802, section 5.1. */
struct attribute {
	const char *value;
	size_t len;
};

/* Takes `name`=... up to the next comma; false if another one comes. */
static bool take_attribute(const char **at, const char *end, char name,
			   struct attribute *ret)
{
	const char *comma;

	if (end - *at < 2 || (*at)[0] != name || (*at)[1] != '=')
		return false;
	ret->value = *at + 2;
	comma = memchr(ret->value, ',', (size_t)(end - ret->value));
	ret->len = (size_t)((comma ? comma : end) - ret->value);
	*at = comma ? comma + 1 : end;
	return true;
}

static bool is_printable(const struct attribute *a)
{
	for (size_t i = 0; i < a->len; i++)
		if (a->value[i] < 0x21 || a->value[i] > 0x7e)
			return false;
	return a->len > 0;
}

static bool fits(const char *msg, size_t len)
{
	return len < SCRAM_MAX_MESSAGE / 2 && !memchr(msg, '\0', len);
}

enum scram_result scram_first(struct scram *s, const char *msg, size_t len,
			      char ret[SCRAM_MAX_MESSAGE])
{
	/* "y" means: could bind, thinks that we cannot, and is right. */
	static const char *const headers[] = {"n,,", "y,,"};
	const char *end = msg + len, *bare = msg + 3, *at = bare;
	char salt[SCRAM_MAX_SALT / 3 * 4 + 8];
	struct attribute user, nonce;
	int n;

	if (!fits(msg, len) || len < 3)
		return SCRAM_BAD;
	for (size_t i = 0; i < 2; i++)
		if (memcmp(msg, headers[i], 3) == 0)
			memcpy(s->gs2_header, headers[i], 4);
	if (s->gs2_header[0] == '\0' || !take_attribute(&at, end, 'n', &user) ||
	    !take_attribute(&at, end, 'r', &nonce) || !is_printable(&nonce))
		return SCRAM_BAD;
	snprintf(s->full_nonce, sizeof(s->full_nonce), "%.*s%s", (int)nonce.len,
		 nonce.value, s->nonce);
	base64_encode(s->secret.salt, s->secret.salt_len, salt);
	n = snprintf(ret, SCRAM_MAX_MESSAGE, "r=%s,s=%s,i=%u", s->full_nonce,
		     salt, s->secret.iterations);
	if (n >= SCRAM_MAX_MESSAGE)
		return SCRAM_BAD;
	snprintf(s->auth, sizeof(s->auth), "%.*s,%s", (int)(end - bare), bare,
		 ret);
	return SCRAM_OK;
}

/* RFC 5802, section 3: ClientKey = ClientProof XOR HMAC(StoredKey, Auth). */
static bool proof_is_right(const struct scram *s, const char *auth,
			   size_t auth_len, const uint8_t proof[SCRAM_HASH])
{
	uint8_t key[SCRAM_HASH], hash[SCRAM_HASH];

	hmac(s->secret.stored_key, auth, auth_len, key);
	for (size_t i = 0; i < SCRAM_HASH; i++)
		key[i] ^= proof[i];
	SHA256(key, sizeof(key), hash);
	return CRYPTO_memcmp(hash, s->secret.stored_key, SCRAM_HASH) == 0 &&
	       !s->secret.mock;
}

/* The client repeats the header that it began with, in base64. */
static bool binding_is_right(const struct scram *s, struct attribute binding)
{
	char want[16];

	base64_encode((const uint8_t *)s->gs2_header, strlen(s->gs2_header),
		      want);
	return binding.len == strlen(want) &&
	       memcmp(binding.value, want, binding.len) == 0;
}

enum scram_result scram_final(struct scram *s, const char *msg, size_t len,
			      char ret[SCRAM_MAX_MESSAGE])
{
	char auth[3 * SCRAM_MAX_MESSAGE], signature[SCRAM_HASH / 3 * 4 + 8];
	const char *end = msg + len, *at = msg, *without_proof;
	uint8_t proof[SCRAM_HASH], hash[SCRAM_HASH];
	struct attribute binding, nonce, p;
	int n;

	if (!fits(msg, len) || !take_attribute(&at, end, 'c', &binding) ||
	    !take_attribute(&at, end, 'r', &nonce) ||
	    !binding_is_right(s, binding) ||
	    nonce.len != strlen(s->full_nonce) ||
	    memcmp(nonce.value, s->full_nonce, nonce.len) != 0)
		return SCRAM_BAD;
	/* Extensions may stand before the proof, which is last. */
	without_proof = at - 1;
	while (!take_attribute(&at, end, 'p', &p)) {
		at = memchr(at, ',', (size_t)(end - at));
		if (!at)
			return SCRAM_BAD;
		without_proof = at++;
	}
	if (at != end || !decode_hash(p.value, p.len, proof))
		return SCRAM_BAD;
	n = snprintf(auth, sizeof(auth), "%s,%.*s", s->auth,
		     (int)(without_proof - msg), msg);
	if (!proof_is_right(s, auth, (size_t)n, proof))
		return SCRAM_WRONG;
	hmac(s->secret.server_key, auth, (size_t)n, hash);
	base64_encode(hash, sizeof(hash), signature);
	snprintf(ret, SCRAM_MAX_MESSAGE, "v=%s", signature);
	return SCRAM_OK;
}
