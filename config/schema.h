/*
 * What a mapping in a file may say, as one table per mapping.
 *
 * A row names the key, its type, where the value goes, what it is when it is
 * not given, and what it is for.  Reading, every error message, the list of
 * settings in force and the manual's tables come from these rows and from
 * nowhere else.
 *
 * Why not a ready-made schema reader (libcyaml was tried on paper): most of
 * our values have two or three forms (`key: [id]`, `key: {id: invoice_id}`),
 * which its schemas cannot say, and its results carry no lines, so that
 * nothing found out after reading (a duplicate column, a certificate that is
 * missing) could be told with one.
 */
#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"
#include "config/document.h"
#include "config/problem.h"

struct schema_reader {
	const char *file;    /* for messages, and relative paths */
	struct arena *arena; /* of the values */
	struct problem *problem;
};

struct schema_rows;
struct field;

/* A type of value. `base` is the struct that the table describes. */
struct value_type {
	bool (*read)(struct schema_reader *r, const struct field *f,
		     const struct node *n, void *base);
	/* "a number from 1 to 65535"; follows "expected" in messages. */
	const char *(*accepts)(const struct field *f, struct arena *a);
	/* Adds the value's rows; NULL: the type is never listed. */
	void (*list)(struct schema_rows *rows, const char *name,
		     const struct field *f, const void *base);
};

struct choice {
	const char *name; /* NULL ends the array */
	unsigned value;
};

struct field {
	const char *key; /* NULL ends the table */
	const struct value_type *type;
	size_t offset, size; /* the member; AT() gives both */
	bool required;
	const char *fallback;	      /* as one would write it; or NULL */
	const char *what;	      /* for the manual: a phrase, no dot */
	uint64_t min, max;	      /* number, duration (ms), list (items) */
	unsigned unit_ms;	      /* duration: of the member; 0: 1 */
	const struct choice *choices; /* choice */
	const struct field *fields;   /* map, list of maps */
	size_t item_size, count_offset; /* list: of one; its size_t count */
	/* text: what is wrong ("is not ..."), or NULL. */
	const char *(*check)(const char *text);
	/* map, each item of a list: checks across keys, after reading. */
	bool (*finish)(struct schema_reader *r, const struct node *n,
		       void *base);
};

/* clang-format off */
#define AT(type, member) \
	.offset = offsetof(type, member), .size = sizeof(((type *)0)->member)
/* An array in two members: `size_t n_x; const struct item *x`. */
#define AT_LIST(type, member, item) \
	.offset = offsetof(type, member), .size = sizeof(void *), \
	.count_offset = offsetof(type, n_##member), .item_size = sizeof(item)
/* clang-format on */

extern const struct value_type schema_text; /* const char *, not empty */
extern const struct value_type schema_sql;  /* the same, outer blanks cut */
extern const struct value_type schema_path; /* schema_resolve()d */
extern const struct value_type schema_file; /* such a path, readable now */
extern const struct value_type schema_bool;
extern const struct value_type schema_number;
extern const struct value_type schema_duration;
extern const struct value_type schema_choice;
extern const struct value_type schema_map;  /* keys of the same struct */
extern const struct value_type schema_list; /* of maps */

/* Reads the map `n` by the table into `base`. */
bool schema_read(struct schema_reader *r, const struct field *fields,
		 const struct node *n, void *base)
    __attribute__((warn_unused_result));

/* "file:line: path: " and the text; returns false.  A hint may follow. */
bool schema_fail(const struct schema_reader *r, const struct node *n,
		 const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same: what is there, and that `expected` was expected. */
bool schema_fail_expected(const struct schema_reader *r, const struct node *n,
			  const char *expected);

/* The node's text; fails if it is not a text, or is empty. */
bool schema_get_text(const struct schema_reader *r, const struct node *n,
		     const char *expected, const char **ret)
    __attribute__((warn_unused_result));

/* The same, without the blanks around it. */
bool schema_get_sql(const struct schema_reader *r, const struct node *n,
		    const char **ret) __attribute__((warn_unused_result));

/* `path` itself if it is absolute, else against the file's folder. */
const char *schema_resolve(const struct schema_reader *r, const char *path);

/* The member that a row is about. */
void *field_member(const struct field *f, void *base);
const char *field_text(const struct field *f, const void *base);

/* Rows of a listing, in the arena. */
struct schema_row {
	const char *name, *value, *what;
	struct schema_row *next;
};
struct schema_rows {
	struct arena *arena;
	size_t n;
	struct schema_row *first, *last;
};
void schema_add_row(struct schema_rows *rows, const char *name,
		    const char *value, const char *what);
/* The values in `base`, or with NULL what each key accepts. */
void schema_list_rows(struct schema_rows *rows, const char *prefix,
		      const struct field *fields, const void *base);

#endif
