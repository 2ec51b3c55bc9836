/*
 * Sets of a ruleset's names, by their index, and what a session says of them.
 *
 * Plain values: no memory of their own.
 */
#ifndef REWRITE_NAME_SET_H
#define REWRITE_NAME_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Of 4096 relations under migration in one database half are old ones. */
enum { NAME_SET_MOST = 4096, NAME_SET_WORDS = NAME_SET_MOST / 64 };

struct name_set {
	uint64_t words[NAME_SET_WORDS]; /* bit i % 64 of word i / 64 */
};

static inline bool name_set_has(const struct name_set *s, size_t i)
{
	return s->words[i / 64] >> (i % 64) & 1;
}

static inline void name_set_add(struct name_set *s, size_t i)
{
	s->words[i / 64] |= UINT64_C(1) << (i % 64);
}

/*
 * What the names mean in a session.  NULL stands for the usual answer, all of
 * this false.
 */
struct session_names {
	struct name_set hidden; /* something else, not what is migrated */
	/* The session speaks the new shape (the setting pgtandem.shape), where
	 * a name is that of both. */
	bool new_shape;
};

static inline bool names_hide(const struct session_names *s, size_t i)
{
	return s != NULL && name_set_has(&s->hidden, i);
}

static inline bool session_names_same(const struct session_names *l,
				      const struct session_names *r)
{
	if (l == NULL || r == NULL)
		return l == r;
	return l->new_shape == r->new_shape &&
	       memcmp(&l->hidden, &r->hidden, sizeof(l->hidden)) == 0;
}

#endif
