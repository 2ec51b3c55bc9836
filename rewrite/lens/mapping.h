/*
 * A lens seen in one direction: the pieces of SQL that copy and compare rows
 * of its source and its target.
 *
 * Shared by the functions that sync one key (ddl_lens.c) and by the walker's
 * statements (walk_sql.c), so that both copy and compare the same columns in
 * the same way.  Everything returned lives in the arena given.
 */
#ifndef REWRITE_MAPPING_H
#define REWRITE_MAPPING_H

#include <stdbool.h>
#include <stddef.h>

#include "config/arena.h"
#include "rewrite/lens/lens.h"
#include "rewrite/lens/walk_sql.h"

struct mapping {
	const struct lens *l;
	enum walk_direction d;
	struct arena *a;
	const struct relation *source, *target;
	const char *source_ref, *target_ref;
	/* The same to read from: of a merge's new relation only the rows that
	 * have this half. */
	const char *source_rows, *target_rows;
};

void mapping_make(const struct lens *l, enum walk_direction d, struct arena *a,
		  struct mapping *ret);

/* The key column's quoted name, the same on both sides only by chance. */
const char *mapping_source_key(const struct mapping *m, size_t i);
const char *mapping_target_key(const struct mapping *m, size_t i);
const struct column *mapping_key_column(const struct mapping *m, size_t i);

/* "a, b": each behind `prefix`. */
const char *mapping_source_keys(const struct mapping *m, const char *prefix);
const char *mapping_target_keys(const struct mapping *m, const char *prefix);

/* Are the keys of source alias s and target alias t equal? */
const char *mapping_join(const struct mapping *m);

/* May target column i be given a value (it is in the lens, and not generated)?
 * Is it of the key?  May an UPDATE set it? */
bool mapping_is_written(const struct mapping *m, size_t i);
bool mapping_is_key(const struct mapping *m, size_t i);
bool mapping_is_updated(const struct mapping *m, size_t i);

/* What target column i is made of, over the source's columns: as assigned
 * (without a length that would cut), or with exactly the column's type. */
const char *mapping_value(const struct mapping *m, size_t i,
			  const char *prefix);
const char *mapping_typed_value(const struct mapping *m, size_t i,
				const char *prefix);

/* "a, b": the written target columns; their values over source alias s. */
const char *mapping_columns(const struct mapping *m);
const char *mapping_values(const struct mapping *m);

/*
 * Do two images of a target row differ?  Each written column is looked at by
 * `left` and `right` and its number; only_updated leaves out what an UPDATE
 * cannot set.  "=" of many types takes different values for equal (1.0 and
 * 1.00, 'a' and 'A' in citext) and some types have none (json, point): those
 * are compared by their stored image (record_image_ne).  "false" when there
 * is nothing to compare.
 */
typedef const char *(*mapping_side_fn)(const struct mapping *m, size_t i);
const char *mapping_differ(const struct mapping *m, mapping_side_fn left,
			   mapping_side_fn right, bool only_updated);

/* "t.c": target column i of alias t. */
const char *mapping_target_value(const struct mapping *m, size_t i);

/*
 * Sync in two statements, source alias s and target alias t: rows that the
 * source has are upserted; rows that it does not have are deleted.  The text
 * given goes behind the FROM item ("JOIN ... WHERE ...", "WHERE ...") or
 * behind the DELETE's target ("USING ... WHERE ...") and ends in a condition.
 */
const char *mapping_upsert(const struct mapping *m, const char *from_where);
const char *mapping_delete(const struct mapping *m, const char *using_where);

/*
 * The same upsert where the target has the row, asked by `key` of alias t and
 * of the source's alias s.  ON CONFLICT DO UPDATE locks a row as if each of
 * its columns changed, a plain UPDATE as strong as what does: it does not wait
 * for who refers to the row as long as no unique column changes.
 */
const char *mapping_update(const struct mapping *m, const char *key);
/* Is the target's row as the source says? */
const char *mapping_is_equal(const struct mapping *m, const char *key);

/* "DO UPDATE SET ... WHERE ..." for what is missing in the target alone: a
 * merge's row may be there with the other half.  "DO NOTHING" otherwise. */
const char *mapping_on_conflict_missing(const struct mapping *m);
/* "SET a = NULL, ...": a half of the target's row; its target is t. */
const char *mapping_cut_half(const struct mapping *m);

/* Do these two expressions of a column's type differ? */
const char *mapping_differ_one(const struct column *c, const char *left,
			       const char *right, struct arena *a);

/* Must an old column's NOT NULL be looked after, since its new column may have
 * a value for NULL?  Then what stands around its value. */
bool old_is_required(const struct lens *l, unsigned old);
const char *old_required(const struct lens *l, unsigned old, const char *value,
			 struct arena *a);
/* The search_path under which a key is looked for: pg_catalog, and where the
 * types of its columns are. */
const char *mapping_key_path(const struct lens *l, struct arena *a);
/* That under which mapping expressions are resolved: with the old relation's
 * schema as well if anything is converted. */
const char *mapping_search_path(const struct lens *l, struct arena *a);

#endif
