#include "daemon/net/statements.h"

#include <stdlib.h>
#include <string.h>

#include "rewrite/cache.h"

enum { BUCKETS_SMALL = 8 };

static void *copy_bytes(const void *bytes, size_t len)
{
	char *m = malloc(len + 1);

	if (m == NULL)
		abort();
	if (len > 0)
		memcpy(m, bytes, len);
	m[len] = '\0';
	return m;
}

struct statement *statement_create(const char *name, size_t name_len,
				   const char *sql, size_t len,
				   uint16_t n_types, const uint8_t *types)
{
	struct statement *s = calloc(1, sizeof(*s));

	if (s == NULL)
		abort();
	s->refs = 1;
	s->name = copy_bytes(name, name_len);
	if (sql != NULL)
		s->sql = copy_bytes(sql, len);
	s->len = len;
	s->n_types = n_types;
	if (n_types > 0)
		s->types = copy_bytes(types, (size_t)n_types * 4);
	return s;
}

struct statement *statement_ref(struct statement *s)
{
	s->refs++;
	return s;
}

void statement_unref(struct statement *s)
{
	if (s == NULL || --s->refs > 0)
		return;
	if (s->sent != NULL)
		planned_unref(s->sent);
	if (s->now != NULL)
		planned_unref(s->now);
	if (s->runs != NULL)
		planned_unref(s->runs);
	free(s->name);
	free(s->sql);
	free(s->types);
	free(s);
}

void statements_init(struct statements *t)
{
	memset(t, 0, sizeof(*t));
}

void statements_free(struct statements *t)
{
	statements_clear(t);
	statement_unref(t->unnamed);
	t->unnamed = NULL;
}

/* FNV-1a. */
static uint64_t name_hash(const char *name, size_t len)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)name[i]) * 0x100000001b3;
	return h;
}

/* The place that points at the statement of this name, or the end of its
 * bucket. */
static struct statement **statements_place(const struct statements *t,
					   const char *name, size_t len)
{
	struct statement **at =
	    &t->buckets[name_hash(name, len) & (t->n_buckets - 1)];

	while (*at != NULL && (strlen((*at)->name) != len ||
			       memcmp((*at)->name, name, len) != 0))
		at = &(*at)->next;
	return at;
}

static void statements_grow(struct statements *t)
{
	struct statements bigger = *t;

	bigger.n_buckets = t->n_buckets == 0 ? BUCKETS_SMALL : t->n_buckets * 2;
	bigger.buckets = calloc(bigger.n_buckets, sizeof(struct statement *));
	if (bigger.buckets == NULL)
		abort();
	for (size_t i = 0; i < t->n_buckets; i++) {
		struct statement *s = t->buckets[i], *next;

		for (; s != NULL; s = next) {
			next = s->next;
			s->next = NULL;
			*statements_place(&bigger, s->name, strlen(s->name)) =
			    s;
		}
	}
	free(t->buckets);
	*t = bigger;
}

struct statement *statements_put(struct statements *t, struct statement *s)
{
	struct statement **at, *before;

	if (s->name[0] == '\0') {
		before = t->unnamed;
		t->unnamed = s;
		return before;
	}
	if (t->n >= t->n_buckets)
		statements_grow(t);
	at = statements_place(t, s->name, strlen(s->name));
	before = *at;
	s->next = before == NULL ? NULL : before->next;
	*at = s;
	if (before == NULL)
		t->n++;
	else
		before->next = NULL;
	return before;
}

struct statement *statements_take(struct statements *t, const char *name,
				  size_t len)
{
	struct statement **at, *s;

	if (len == 0) {
		s = t->unnamed;
		t->unnamed = NULL;
		return s;
	}
	if (t->n == 0)
		return NULL;
	at = statements_place(t, name, len);
	s = *at;
	if (s == NULL)
		return NULL;
	*at = s->next;
	s->next = NULL;
	t->n--;
	return s;
}

void statements_clear(struct statements *t)
{
	for (size_t i = 0; i < t->n_buckets; i++) {
		struct statement *s = t->buckets[i], *next;

		for (; s != NULL; s = next) {
			next = s->next;
			s->next = NULL;
			statement_unref(s);
		}
	}
	free(t->buckets);
	t->buckets = NULL;
	t->n = 0;
	t->n_buckets = 0;
}

struct statement *statements_find(const struct statements *t, const char *name,
				  size_t len)
{
	if (len == 0)
		return t->unnamed;
	return t->n == 0 ? NULL : *statements_place(t, name, len);
}
