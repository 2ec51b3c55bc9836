/*
 * What the compilers of the kinds share (rewrite/lens/lens.c, lens_child.c,
 * lens_merge.c).
 */
#ifndef REWRITE_LENS_COMPILE_H
#define REWRITE_LENS_COMPILE_H

#include "rewrite/lens/lens.h"

enum { NOWHERE = -1 };

struct lens_compile {
	const struct spec *spec;
	const struct spec_lens *in;
	const struct relation *old;
	const struct relation *new;
	const struct known_names *known; /* NULL: any name will do */
	struct arena *a;
	struct problem *p;
	struct lens_old *olds;
	struct lens_new *news;
	struct child_column *child_columns; /* of new: the child table */
	bool *has_way_back;		    /* per old column */
	const struct relation *wanted;	    /* in place: what derive_new made */
};

/* "FILE:LINE: ..."; returns false. */
bool lens_fail(const struct lens_compile *c, unsigned line, const char *fmt,
	       ...) __attribute__((format(printf, 3, 4)));

/* The same for a problem that was found further down. */
bool lens_fail_again(const struct lens_compile *c, unsigned line);

/* Both models are one table, so that no column only gets another name. */
bool lens_is_in_place(const struct lens_compile *c);
/* The entry that makes this new column, or NULL. */
const struct spec_column *lens_entry_of_new(const struct lens_compile *c,
					    const char *name);
bool entry_uses_old(const struct spec_column *e, const char *old);
/* An entry without expressions is a rename, or a cast both ways. */
bool entry_is_plain(const struct spec_column *e);
/* The new name of an old column that no entry speaks of; NULL if one does. */
const char *lens_carried_name(const struct lens_compile *c, const char *old);

/* Its index in the relation, or NOWHERE. */
int lens_find_column(const struct relation *r, const char *name);

/* The steps that rewrite/lens/lens.c names, in their order. */
bool lens_check_input(const struct lens_compile *c);
bool lens_derive_new(struct lens_compile *c);
/* Both sides' columns, mapped to nothing yet. */
void lens_begin_columns(struct lens_compile *c);
/* The new column is the old one, of the same type. */
void lens_tie(const struct lens_compile *c, unsigned old, unsigned new);
bool lens_check_entries(const struct lens_compile *c);
bool lens_compile_columns(struct lens_compile *c);
bool lens_compile_key(const struct lens_compile *c, struct lens_key *key);
void lens_fill(struct lens *l, const struct lens_compile *c, unsigned number,
	       const struct lens_key *key);

/*
 * lens_child.c.  `new` is the child table, or NULL while it does not exist;
 * then the old relation without the columns that move.
 */
bool lens_child_compile(struct lens_compile *c, unsigned number,
			const struct lens_child **ret)
    __attribute__((warn_unused_result));
/* lens_child_check.c: can these columns move?  Not where the old relation
 * promises something that neither table alone can keep. */
bool child_check_old(const struct lens_compile *c)
    __attribute__((warn_unused_result));

#endif
