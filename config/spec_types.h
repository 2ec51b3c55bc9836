/*
 * The types of value that only migration files have: names, and what may be
 * written in more than one form.
 *
 * Each turns all of its forms into the one that config/spec.h shows.
 */
#ifndef CONFIG_SPEC_TYPES_H
#define CONFIG_SPEC_TYPES_H

#include "config/schema.h"
#include "config/spec.h"

/* const char *: a column, a database. */
extern const struct value_type spec_type_name;
/* struct spec_name: `invoices`, `public.invoices`. */
extern const struct value_type spec_type_relation;
/* struct spec_lens: merge's two old tables. */
extern const struct value_type spec_type_two_relations;
/* Array of names, of columns or others: `amount`, `[a, b]`. */
extern const struct value_type spec_type_names;
/* Array of SQL texts: `store_id`, `[is_primary DESC, id]`. */
extern const struct value_type spec_type_sqls;
/* Array of struct spec_key: `[id]`, `{id: invoice_id}`, `[a, {b: c}]`. */
extern const struct value_type spec_type_key;
/* Array of struct spec_key: `{employee_id: id}`, new before old. */
extern const struct value_type spec_type_parent;
/* struct spec_column's new_*: `total`, `{name: total, type: bigint}`. */
extern const struct value_type spec_type_new;
/* struct spec_column's reverse: SQL, or SQL by old column.  Stands behind
 * `old` in a table. */
extern const struct value_type spec_type_reverse;
/* Array of struct spec_column that move: `[store_id]`,
 * `[{old: email, reverse: lower(email)}]`. */
extern const struct value_type spec_type_moved;
/* Array of struct spec_column of the child: `{store_id: store_id}`,
 * `{email: {type: citext, forward: email::citext}}`. */
extern const struct value_type spec_type_child;

bool spec_name_is(const struct spec_name *a, const struct spec_name *b);

#endif
