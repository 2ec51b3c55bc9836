/*
 * What the compilers of the kinds share (rewrite/lens/lens.c, lens_merge.c).
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
	bool *has_way_back;	       /* per old column */
	const struct relation *wanted; /* in place: what derive_new made */
};

/* "FILE:LINE: ..."; returns false. */
bool lens_fail(const struct lens_compile *c, unsigned line, const char *fmt,
	       ...) __attribute__((format(printf, 3, 4)));

/* Its index in the relation, or NOWHERE. */
int lens_find_column(const struct relation *r, const char *name);

/* The steps that rewrite/lens/lens.c names, in their order. */
bool lens_check_input(const struct lens_compile *c);
bool lens_derive_new(struct lens_compile *c);
bool lens_check_entries(const struct lens_compile *c);
bool lens_compile_columns(struct lens_compile *c);
bool lens_compile_key(const struct lens_compile *c, struct lens_key *key);
void lens_fill(struct lens *l, const struct lens_compile *c, unsigned number,
	       const struct lens_key *key);

#endif
