/*
 * The tables of a migration file, and what must hold between its keys.
 *
 * The kinds of lens have different keys, so each has its table; all are
 * read into struct spec_lens.
 */
#include "config/spec.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "config/schema.h"
#include "config/spec_types.h"

/* clang-format off */
static const struct choice kinds[] = {
	{ "table", LENS_TABLE }, { "columns", LENS_COLUMNS },
	{ "child", LENS_CHILD }, { "merge", LENS_MERGE }, { 0 },
};
static const struct choice guards[] = {
	{ "off", GUARD_OFF }, { "capture", GUARD_CAPTURE },
	{ "reject", GUARD_REJECT }, { 0 },
};
static const struct choice old_uses[] = {
	{ "translate", OLD_USE_TRANSLATE }, { "warn", OLD_USE_WARN },
	{ "error", OLD_USE_ERROR }, { 0 },
};
static const struct choice violations[] = {
	{ "fail", VIOLATION_FAIL }, { "quarantine", VIOLATION_QUARANTINE },
	{ 0 },
};
static const struct choice ddls[] = {
	{ "generated", DDL_GENERATED }, { "manual", DDL_MANUAL }, { 0 },
};
static const struct choice lossies[] = {
	{ "refuse", false }, { "accept", true }, { 0 },
};
static const struct choice triggers[] = {
	{ "move", TRIGGERS_MOVE }, { "ignore", TRIGGERS_IGNORE }, { 0 },
};
static const struct choice orders[] = {
	{ "any", ORDER_ANY }, { "preserving", ORDER_PRESERVING }, { 0 },
};
static const struct choice husks[] = {
	{ "keep", HUSK_KEEP }, { "none", HUSK_NONE }, { 0 },
};

#define COLUMN_ROWS \
	{ "old", &spec_type_names, AT_LIST(struct spec_column, old, char *), \
	  .required = true, .what = "the old column, or columns" }, \
	{ "new", &spec_type_new, AT(struct spec_column, new_name), \
	  .required = true, .what = "the new column; " \
	  "name, type, not_null, default" }, \
	{ "forward", &schema_sql, AT(struct spec_column, forward), \
	  .what = "SQL over the old columns that gives the new one" }, \
	{ "reverse", &spec_type_reverse, AT(struct spec_column, reverse), \
	  .what = "SQL over the new columns that gives the old one; " \
	  "by name where there are several" }, \
	{ "bijective", &schema_bool, AT(struct spec_column, bijective), \
	  .fallback = "false", .what = "whether the mapping is one-to-one, " \
	  "so that a condition on the old column may use the new one's index" }, \
	{ "order", &schema_choice, AT(struct spec_column, order), \
	  .fallback = "any", .choices = orders, \
	  .what = "preserving: a one-to-one mapping that sorts both columns " \
	  "alike, so that ORDER BY may use the new one's index" }

static const struct field column_fields[] = { COLUMN_ROWS, { 0 } };
static const struct field merge_column_fields[] = {
	COLUMN_ROWS,
	{ "from", &spec_type_relation, AT(struct spec_column, from),
	  .what = "which of the two old tables; needed where both have the "
	  "column" },
	{ 0 },
};

#define KIND_ROW \
	{ "kind", &schema_choice, AT(struct spec_lens, kind), \
	  .required = true, .choices = kinds, \
	  .what = "how old and new hang together" }
#define KEY_ROW \
	{ "key", &spec_type_key, AT_LIST(struct spec_lens, key, \
	  struct spec_key), .required = true, \
	  .what = "the columns that identify a row on both sides" }
#define OLD_ROW \
	{ "old", &spec_type_relation, AT(struct spec_lens, old), \
	  .required = true, .what = "the old table" }
#define NEW_ROW \
	{ "new", &spec_type_relation, AT(struct spec_lens, new), \
	  .required = true, .what = "the new table" }
#define COLUMNS_ROW(table, needed, about) \
	{ "columns", &schema_list, \
	  AT_LIST(struct spec_lens, columns, struct spec_column), \
	  .required = (needed), .min = (needed), .max = 1600, \
	  .fields = (table), .finish = check_column, .what = (about) }

static bool check_column(struct schema_reader *r, const struct node *n,
			 void *base);

static const struct field table_lens[] = {
	KIND_ROW, OLD_ROW, NEW_ROW, KEY_ROW,
	COLUMNS_ROW(column_fields, false, "what differs; all others carry "
	            "over by name"),
	{ 0 },
};
static const struct field columns_lens[] = {
	KIND_ROW,
	{ "table", &spec_type_relation, AT(struct spec_lens, old),
	  .required = true, .what = "the table that has both models" },
	KEY_ROW,
	COLUMNS_ROW(column_fields, true, "old columns and the new ones beside "
	            "them"),
	{ 0 },
};
static const struct field child_new_fields[] = {
	{ "table", &spec_type_relation, AT(struct spec_lens, new),
	  .required = true, .what = "the child table" },
	{ "parent", &spec_type_parent,
	  AT_LIST(struct spec_lens, parent, struct spec_key),
	  .required = true, .what = "the child's columns that hold the key" },
	{ "columns", &spec_type_child,
	  AT_LIST(struct spec_lens, child, struct spec_column),
	  .required = true, .what = "the child's columns, and the SQL over "
	  "the old columns that gives them" },
	{ "when", &schema_sql, AT(struct spec_lens, when),
	  .what = "SQL over the old columns: whether there is a child row" },
	{ "pick", &spec_type_sqls, AT_LIST(struct spec_lens, pick, char *),
	  .what = "which row the old shape shows when there are several: "
	  "the first in this order" },
	{ 0 },
};
static const struct field child_lens[] = {
	KIND_ROW, OLD_ROW, KEY_ROW,
	{ "columns", &spec_type_moved,
	  AT_LIST(struct spec_lens, columns, struct spec_column),
	  .required = true, .what = "the old columns that move" },
	{ "new", &schema_map, .required = true, .fields = child_new_fields,
	  .what = "the child table" },
	{ 0 },
};
static const struct field merge_lens[] = {
	KIND_ROW,
	{ "old", &spec_type_two_relations, AT(struct spec_lens, old),
	  .required = true, .what = "the two old tables" },
	NEW_ROW, KEY_ROW,
	COLUMNS_ROW(merge_column_fields, false, "what differs; all others "
	            "carry over by name"),
	{ 0 },
};

static const struct {
	const struct field *fields;
	bool supported;		/* everything else of pgtandem can do it */
} lens_tables[] = {
	[LENS_TABLE]   = { table_lens,   true },
	[LENS_COLUMNS] = { columns_lens, true },
	[LENS_CHILD]   = { child_lens,   true },
	[LENS_MERGE]   = { merge_lens,   true },
};

static const struct value_type lenses_type;
static const char *check_migration_name(const char *text);

static const struct field spec_fields[] = {
	{ "migration", &schema_text, AT(struct spec, name),
	  .required = true, .check = check_migration_name,
	  .what = "the migration's name, by which the console knows it" },
	{ "database", &spec_type_name, AT(struct spec, database),
	  .required = true, .what = "the database that it is in" },
	{ "lossy", &schema_choice, AT(struct spec, lossy_accept),
	  .fallback = "refuse", .choices = lossies,
	  .what = "rows whose old state the new model cannot express: stop "
	  "before read_new, or go on" },
	{ "guard", &schema_choice, AT(struct spec, guard),
	  .fallback = "off", .choices = guards,
	  .what = "writes that do not pass pgtandem: leave them, sync them, "
	  "or make them fail" },
	{ "old_use", &schema_choice, AT(struct spec, old_use),
	  .fallback = "translate", .choices = old_uses,
	  .what = "what a statement of the old shape gets from new_only on" },
	{ "on_violation", &schema_choice, AT(struct spec, on_violation),
	  .fallback = "fail", .choices = violations,
	  .what = "a row that the new model's constraints refuse: the write "
	  "fails, or the row becomes a finding" },
	{ "ddl", &schema_choice, AT(struct spec, ddl),
	  .fallback = "generated", .choices = ddls,
	  .what = "who changes the schema: pgtandem, or the team's own tool, "
	  "and pgtandem only checks" },
	{ "triggers", &schema_choice, AT(struct spec, triggers),
	  .fallback = "move", .choices = triggers,
	  .what = "whether the old table's triggers move to the new one" },
	{ "husk", &schema_choice, AT(struct spec, husk),
	  .fallback = "keep", .choices = husks,
	  .what = "whether contracted leaves the old table's description, "
	  "without rows, for those who look into the catalog" },
	{ "quiet_for", &schema_duration, AT(struct spec, quiet_for_ms),
	  .fallback = "7d", .max = 366ULL * 86400000,
	  .what = "how long no statement of the old shape must have been seen "
	  "before contracted" },
	{ "leave_out", &spec_type_names,
	  AT_LIST(struct spec, leave_out, char *),
	  .what = "constraints and unique indexes that the new model may do "
	  "without, where no twin of theirs can be generated" },
	{ "expand", &schema_sql, AT(struct spec, expand),
	  .what = "SQL run before the generated DDL of expanded" },
	{ "relax", &schema_sql, AT(struct spec, relax),
	  .what = "SQL run before the generated DDL of new_only" },
	{ "contract", &schema_sql, AT(struct spec, contract),
	  .what = "SQL run before the generated DDL of contracted" },
	{ "lenses", &lenses_type, AT_LIST(struct spec, lenses,
	  struct spec_lens), .required = true,
	  .what = "the mappings; keys by kind, see below" },
	{ 0 },
};
/* clang-format on */

static const char *check_migration_name(const char *text)
{
	size_t ok = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");

	if (text[ok] != '\0' || text[0] < 'a' || text[0] > 'z')
		return "is not a migration's name; expected a-z, then a-z, "
		       "0-9, _";
	if (strlen(text) > SPEC_NAME_BYTES)
		return "is longer than 40 characters";
	return NULL;
}

/* What must hold within one entry of `columns`. */
static bool check_column(struct schema_reader *r, const struct node *n,
			 void *base)
{
	struct spec_column *column = base;
	bool both = column->forward != NULL && column->reverse != NULL;

	column->line = n->line;
	if (both)
		return true;
	if (column->n_old > 1)
		return schema_fail(r, n,
				   "several old columns need both "
				   "forward and reverse");
	if (column->new_type != NULL)
		return schema_fail(r, n,
				   "a new type needs both forward and "
				   "reverse");
	if (column->forward != NULL || column->reverse != NULL)
		return schema_fail(r, n,
				   "forward and reverse are given "
				   "together or not at all; %s is missing",
				   column->forward ? "reverse" : "forward");
	return true;
}

/* Entry `i` of `columns`, for a message. */
static const struct node *column_node(const struct node *lens, size_t i)
{
	const struct node *n = node_get(lens, "columns")->first;

	for (; i > 0; i--)
		n = n->next;
	return n;
}

/* Names that a lens has given, with the lines for messages. */
struct taken {
	const char *name;
	const char *from; /* merge: the table's name; else "" */
	unsigned line;
};

static const struct taken *find_taken(const struct taken *taken, size_t n,
				      const struct taken *one)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(taken[i].name, one->name) == 0 &&
		    strcmp(taken[i].from, one->from) == 0)
			return &taken[i];
	}
	return NULL;
}

static bool fail_taken(const struct schema_reader *r, const struct node *n,
		       const struct taken *first)
{
	return schema_fail(r, n, "\"%s\" is already mapped in line %u",
			   first->name, first->line);
}

static bool check_old_once(const struct schema_reader *r,
			   const struct node *lens, const struct spec_lens *l)
{
	unsigned key_line = node_get(lens, "key")->line;
	size_t n = 0, room = l->n_key;
	struct taken *taken;

	for (size_t i = 0; i < l->n_columns; i++)
		room += l->columns[i].n_old;
	taken = arena_alloc(r->arena, room * sizeof(*taken));
	for (size_t i = 0; i < l->n_key; i++)
		taken[n++] = (struct taken){l->key[i].old, "", key_line};
	for (size_t i = 0; i < l->n_columns; i++) {
		const struct spec_column *c = &l->columns[i];
		const char *from = c->from.name ? c->from.name : "";

		for (size_t j = 0; j < c->n_old; j++) {
			struct taken one = {c->old[j], from, c->line};
			const struct taken *first = find_taken(taken, n, &one);

			if (first != NULL)
				return fail_taken(r, column_node(lens, i),
						  first);
			taken[n++] = one;
		}
	}
	return true;
}

static bool check_new_once(const struct schema_reader *r,
			   const struct node *lens, const struct spec_lens *l)
{
	unsigned key_line = node_get(lens, "key")->line;
	size_t n = 0, room = l->n_key + l->n_columns;
	struct taken *taken = arena_alloc(r->arena, room * sizeof(*taken));

	for (size_t i = 0; i < l->n_key; i++)
		taken[n++] = (struct taken){l->key[i].new, "", key_line};
	for (size_t i = 0; i < l->n_columns; i++) {
		const struct spec_column *c = &l->columns[i];
		struct taken one = {c->new_name, "", c->line};
		const struct taken *first;

		if (one.name == NULL)
			continue;
		first = find_taken(taken, n, &one);
		if (first != NULL)
			return fail_taken(r, column_node(lens, i), first);
		taken[n++] = one;
	}
	return true;
}

static bool check_table_lens(const struct schema_reader *r,
			     const struct node *n, struct spec_lens *l)
{
	if (spec_name_is(&l->old, &l->new))
		return schema_fail(r, node_get(n, "new"),
				   "is the old table; "
				   "kind columns changes a table in place");
	return true;
}

static bool is_old_column(const struct spec_lens *l, const char *name)
{
	for (size_t i = 0; i < l->n_columns; i++) {
		for (size_t j = 0; j < l->columns[i].n_old; j++) {
			if (strcmp(name, l->columns[i].old[j]) == 0)
				return true;
		}
	}
	return false;
}

/* The two models share the table, so no name may be in both. */
static bool check_columns_lens(const struct schema_reader *r,
			       const struct node *lens, struct spec_lens *l)
{
	l->new = l->old;
	for (size_t i = 0; i < l->n_key; i++) {
		if (strcmp(l->key[i].old, l->key[i].new) != 0)
			return schema_fail(r, node_get(lens, "key"),
					   "\"%s\" has another name on the "
					   "new side; expected the same, for "
					   "it is the same table",
					   l->key[i].old);
	}
	for (size_t i = 0; i < l->n_columns; i++) {
		const char *name = l->columns[i].new_name;

		if (is_old_column(l, name))
			return schema_fail(r, column_node(lens, i),
					   "new column \"%s\" is an old one "
					   "too; in the same table it needs a "
					   "name of its own",
					   name);
	}
	return true;
}

static bool check_child_lens(const struct schema_reader *r,
			     const struct node *lens_n, struct spec_lens *l)
{
	const struct node *new = node_get(lens_n, "new");

	if (spec_name_is(&l->old, &l->new))
		return schema_fail(r, node_get(new, "table"),
				   "is the old "
				   "table; expected another");
	for (size_t i = 0; i < l->n_parent; i++) {
		size_t j = 0;

		while (j < l->n_key &&
		       strcmp(l->parent[i].old, l->key[j].old) != 0)
			j++;
		if (j == l->n_key)
			return schema_fail(r, node_get(new, "parent"),
					   "\"%s\" is not a key column",
					   l->parent[i].old);
	}
	if (l->n_parent < l->n_key)
		return schema_fail(r, node_get(new, "parent"),
				   "has %zu of %zu "
				   "key columns; expected all",
				   l->n_parent, l->n_key);
	return true;
}

static bool check_merge_lens(const struct schema_reader *r,
			     const struct node *lens, struct spec_lens *l)
{
	if (spec_name_is(&l->old, &l->old2))
		return schema_fail(r, node_get(lens, "old"),
				   "names one table twice; expected two");
	if (l->n_key2 > 0 && l->n_key2 != l->n_key)
		return schema_fail(r, node_get(lens, "old"),
				   "the second table's key has %zu columns; "
				   "expected %zu, as under key",
				   l->n_key2, l->n_key);
	if (spec_name_is(&l->old, &l->new) || spec_name_is(&l->old2, &l->new))
		return schema_fail(r, node_get(lens, "new"),
				   "is one of the old tables; expected "
				   "another");
	for (size_t i = 0; i < l->n_columns; i++) {
		const struct spec_name *from = &l->columns[i].from;

		if (from->name == NULL || spec_name_is(from, &l->old) ||
		    spec_name_is(from, &l->old2))
			continue;
		return schema_fail(r, node_get(column_node(lens, i), "from"),
				   "is not one of the two old tables");
	}
	return true;
}

static bool check_lens(const struct schema_reader *r, const struct node *n,
		       struct spec_lens *l)
{
	static bool (*const checks[])(const struct schema_reader *,
				      const struct node *,
				      struct spec_lens *) = {
	    [LENS_TABLE] = check_table_lens,
	    [LENS_COLUMNS] = check_columns_lens,
	    [LENS_CHILD] = check_child_lens,
	    [LENS_MERGE] = check_merge_lens,
	};

	return checks[l->kind](r, n, l) && check_old_once(r, n, l) &&
	       check_new_once(r, n, l);
}

/* The kind first: it says which keys there are. */
static bool read_lens(struct schema_reader *r, const struct node *n,
		      struct spec_lens *l)
{
	static const struct field kind_row = KIND_ROW;
	const struct node *kind =
	    n->kind == NODE_MAP ? node_get(n, "kind") : NULL;

	if (n->kind != NODE_MAP)
		return schema_fail_expected(r, n, "a mapping with key kind");
	if (kind == NULL)
		return schema_fail(r, n, "key \"kind\" is missing; expected %s",
				   schema_choice.accepts(&kind_row, r->arena));
	if (!schema_choice.read(r, &kind_row, kind, l))
		return false;
	l->line = n->line;
	return schema_read(r, lens_tables[l->kind].fields, n, l) &&
	       check_lens(r, n, l);
}

static const char *accepts_lenses(const struct field *f, struct arena *a)
{
	return "a list of lenses, at least one";
}

static bool has_two_tables(const struct spec_lens *l)
{
	return l->kind == LENS_TABLE || l->kind == LENS_MERGE;
}

static bool check_twice(const struct schema_reader *r, const struct node *n,
			const struct spec_lens *lenses, size_t i)
{
	const struct spec_lens *l = &lenses[i], *other;

	for (other = lenses; other < l; other++) {
		if (!has_two_tables(l) || !has_two_tables(other) ||
		    l->half == 2)
			continue;
		if (spec_name_is(&l->old, &other->old) ||
		    spec_name_is(&l->new, &other->new))
			return schema_fail(r, n,
					   "maps a table that the lens "
					   "in line %u maps",
					   other->line);
	}
	return true;
}

static const struct spec_key *second_key(const struct spec_lens *first,
					 struct arena *a)
{
	struct spec_key *key = arena_alloc(a, first->n_key * sizeof(*key));

	for (size_t i = 0; i < first->n_key; i++)
		key[i] = (struct spec_key){first->key2[i], first->key[i].new};
	return key;
}

static void split_merge(struct spec_lens *first, struct spec_lens *second,
			struct arena *a)
{
	*second = *first;
	first->half = 1;
	second->half = 2;
	second->old = first->old2;
	second->old2 = first->old;
	if (first->n_key2 > 0)
		second->key = second_key(first, a);
}

/* The second old table of a merge. */
static bool check_old_taken(const struct schema_reader *r, const struct node *n,
			    const struct spec_lens *lenses, size_t i)
{
	for (size_t k = 0; k + 1 < i; k++)
		if (has_two_tables(&lenses[k]) &&
		    spec_name_is(&lenses[i].old, &lenses[k].old))
			return schema_fail(r, n,
					   "maps a table that the lens "
					   "in line %u maps",
					   lenses[k].line);
	return true;
}

static bool read_lenses(struct schema_reader *r, const struct field *f,
			const struct node *list, void *base)
{
	struct spec *spec = base;
	const struct node *n = list->first;
	struct spec_lens *lenses;
	size_t at = 0;

	if (list->kind != NODE_LIST || list->n == 0)
		return schema_fail_expected(r, list, accepts_lenses(f, NULL));
	if (list->n > SPEC_MAX_LENSES)
		return schema_fail(r, list, "has %u lenses; at most %d",
				   list->n, SPEC_MAX_LENSES);
	lenses = arena_alloc(r->arena, 2 * list->n * sizeof(*lenses));
	for (unsigned i = 0; i < list->n; i++, n = n->next) {
		if (!read_lens(r, n, &lenses[at]) ||
		    !check_twice(r, n, lenses, at))
			return false;
		at++;
		if (lenses[at - 1].kind != LENS_MERGE)
			continue;
		split_merge(&lenses[at - 1], &lenses[at], r->arena);
		if (!check_old_taken(r, n, lenses, at))
			return false;
		at++;
	}
	if (at > SPEC_MAX_LENSES)
		return schema_fail(r, list,
				   "has %zu lenses, a merge counted "
				   "twice; at most %d",
				   at, SPEC_MAX_LENSES);
	spec->n_lenses = at;
	spec->lenses = lenses;
	return true;
}

static const struct value_type lenses_type = {
    read_lenses,
    accepts_lenses,
    NULL,
};

static void hash_text(const char *text, size_t len, char ret[17])
{
	uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3;
	snprintf(ret, 17, "%016llx", (unsigned long long)hash);
}

static bool read_spec(struct schema_reader *r, const char *text, size_t len,
		      const struct node **ret_root, struct spec **ret)
{
	struct spec *s = arena_alloc(r->arena, sizeof(*s));
	const struct node *root;

	if (!document_parse(r->file, text, len, r->arena, &root, r->problem) ||
	    !schema_read(r, spec_fields, root, s))
		return false;
	s->file = arena_str(r->arena, r->file);
	s->name_line = node_get(root, "migration")->line;
	s->text = arena_dup(r->arena, text, len);
	hash_text(text, len, s->hash);
	*ret_root = root;
	*ret = s;
	return true;
}

/* Where both models are one row, a row is written as a whole or not at all. */
static bool check_quarantine(const struct schema_reader *r,
			     const struct node *root, const struct spec *s)
{
	for (size_t i = 0; i < s->n_lenses; i++)
		if (s->on_violation == VIOLATION_QUARANTINE &&
		    s->lenses[i].kind == LENS_COLUMNS)
			return schema_fail(
			    r, node_get(root, "on_violation"),
			    "quarantine cannot be had with kind columns: "
			    "both models are one row, which the table's "
			    "constraints accept or refuse as a whole");
	return true;
}

/* The one place that refuses what can be written but not yet done. */
static bool check_supported(const struct schema_reader *r,
			    const struct node *root, const struct spec *s)
{
	const struct node *n = node_get(root, "lenses")->first;
	const char *supported = "";

	for (const struct choice *c = kinds; c->name != NULL; c++) {
		if (lens_tables[c->value].supported)
			supported =
			    arena_fmt(r->arena, "%s%s%s", supported,
				      supported[0] ? ", " : "", c->name);
	}
	for (size_t i = 0; i < s->n_lenses; i++) {
		const struct node *kind = node_get(n, "kind");

		if (!lens_tables[s->lenses[i].kind].supported)
			return schema_fail(r, kind,
					   "%s is not supported yet; "
					   "supported: %s",
					   kind->text, supported);
		if (s->lenses[i].half != 1)
			n = n->next;
	}
	return true;
}

bool spec_parse_any(const char *file, const char *text, size_t len,
		    struct arena *a, const struct spec **ret, struct problem *p)
{
	struct schema_reader r = {.file = file, .arena = a, .problem = p};
	const struct node *root;
	struct spec *s;

	if (!read_spec(&r, text, len, &root, &s))
		return false;
	*ret = s;
	return true;
}

bool spec_parse(const char *file, const char *text, size_t len, struct arena *a,
		const struct spec **ret, struct problem *p)
{
	struct schema_reader r = {.file = file, .arena = a, .problem = p};
	const struct node *root;
	struct spec *s;

	if (!read_spec(&r, text, len, &root, &s) ||
	    !check_supported(&r, root, s) || !check_quarantine(&r, root, s))
		return false;
	*ret = s;
	return true;
}

bool spec_read(const char *file, struct arena *a, const struct spec **ret,
	       struct problem *p)
{
	const char *text;
	size_t len;

	return document_load(file, a, &text, &len, p) &&
	       spec_parse(file, text, len, a, ret, p);
}

void spec_describe(struct schema_rows *rows)
{
	schema_list_rows(rows, "", spec_fields, NULL);
	for (const struct choice *c = kinds; c->name != NULL; c++)
		schema_list_rows(rows,
				 arena_fmt(rows->arena, "lenses[%s]", c->name),
				 lens_tables[c->value].fields, NULL);
}
