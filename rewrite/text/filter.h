/*
 * What bytes alone tell of a text before anything reads it.
 *
 * Owns the two questions that every statement is asked: may it name a relation
 * under migration, and may it change what names mean?  Linear, no allocation,
 * safe on any bytes.  Never a false no; a false yes costs a parse.
 */
#ifndef REWRITE_FILTER_H
#define REWRITE_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"

struct rule_name;

/* Compiled once per ruleset; lives in its arena, borrows the names. */
struct filter;
const struct filter *filter_make(const struct rule_name *names, size_t n,
				 struct arena *a)
    __attribute__((returns_nonnull));
bool filter_finds(const struct filter *f, const char *sql, size_t len);
/* Does the text have this name somewhere, in any case, also in a string or a
 * comment? */
bool text_names(const char *text, const char *name);

/*
 * Where names of one spelling are: a table by the folded beginning of a name,
 * double quotes left out, so that a word of a text is looked up as it stands,
 * doubled quotes and all.  What is found may be spelled otherwise.
 */
struct name_index {
	const uint16_t *first; /* by the low bits of name_hash; or NAME_NONE */
	const uint16_t *next;  /* of the names with the same bits */
	uint32_t mask;
};

enum { NAME_NONE = UINT16_MAX };

struct name_index name_index_make(const struct rule_name *names, size_t n,
				  struct arena *a);
/* The first name that `word` may spell, or NAME_NONE; the others by `next`. */
uint16_t name_index_find(const struct name_index *x, const char *word,
			 size_t len);

/*
 * What a text may do to what names mean in the session: change it
 * (search_path, role, pgtandem.shape, temporary relations, DISCARD, RESET), or
 * take back a change of the transaction (ROLLBACK TO).
 */
enum { NAMES_CHANGE = 1, NAMES_UNDO = 2 };

/* The bits of it; 0: nothing. */
unsigned sql_names_effect(const char *sql, size_t len);

/* May the text read the system catalogs?  True for more than do: any word
 * that begins with pg_, and information_schema. */
bool sql_names_catalog(const char *sql, size_t len);

#endif
