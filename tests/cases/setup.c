#include "tests/cases/setup.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "rewrite/ddl/ddl.h"

static void print_line(json_t *line)
{
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(line);
}

static void append(json_t *list, const char *sql)
{
	json_array_append_new(list, json_string(sql));
}

/* What stands behind the type of a column. */
static const char *column_rest(const struct column *c, struct arena *a)
{
	const char *null = c->not_null ? " NOT NULL" : "";

	if (c->generated)
		return arena_fmt(a, "%s GENERATED ALWAYS AS (%s) STORED", null,
				 c->default_expr);
	if (c->identity)
		return arena_fmt(a, "%s GENERATED %s AS IDENTITY", null,
				 c->identity == 'a' ? "ALWAYS" : "BY DEFAULT");
	if (c->default_expr != NULL)
		return arena_fmt(a, "%s DEFAULT %s", null, c->default_expr);
	return null;
}

static const char *create_table(const struct relation *r, struct arena *a)
{
	const char *items = "";

	for (size_t i = 0; i < r->n_columns; i++)
		items = arena_fmt(a, "%s%s%s %s%s", items, i ? ", " : "",
				  quote_name(r->columns[i].name, a),
				  r->columns[i].type,
				  column_rest(&r->columns[i], a));
	for (size_t i = 0; i < r->n_constraints; i++)
		items = arena_fmt(a, "%s, CONSTRAINT %s %s", items,
				  quote_name(r->constraints[i].name, a),
				  r->constraints[i].definition);
	return arena_fmt(a, "CREATE TABLE %s (%s)",
			 quote_qualified(r->schema, r->name, a), items);
}

static const char *serial_of(const struct column *c)
{
	return c->identity ? NULL : c->sequence;
}

/* As `serial` makes them: the table owns its sequences. */
static void append_relation(json_t *list, const struct relation *r,
			    struct arena *a)
{
	const char *ref = quote_qualified(r->schema, r->name, a);
	const char *sequence, *name;

	for (size_t i = 0; i < r->n_columns; i++)
		if ((sequence = serial_of(&r->columns[i])) != NULL)
			append(list,
			       arena_fmt(a, "CREATE SEQUENCE %s", sequence));
	append(list, create_table(r, a));
	for (size_t i = 0; i < r->n_columns; i++) {
		name = quote_name(r->columns[i].name, a);
		if ((sequence = serial_of(&r->columns[i])) != NULL)
			append(list, arena_fmt(a,
					       "ALTER SEQUENCE %s "
					       "OWNED BY %s.%s",
					       sequence, ref, name));
	}
}

static void print_base(const struct model *m, struct arena *a)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_relations; i++)
		append_relation(list, &m->relations[i], a);
	append(list, m->base);
	print_line(json_pack("{so}", "base", list));
}

static void append_move(json_t *list, const struct lens *l, enum phase to,
			bool before, struct arena *a)
{
	struct ddl_list ddl;

	ddl_for_move(l, (enum phase)(to - 1), to, before, true, a, &ddl);
	for (size_t i = 0; i < ddl.n; i++)
		append(list, ddl.steps[i].sql);
}

/* What the control side would have written; of two phases that never meet,
 * so that both directions are synced. */
static const char *create_state(const struct spec *spec, struct arena *a)
{
	return arena_fmt(a,
			 "INSERT INTO pgtandem.migration (name, phase, "
			 "pending_from, epoch, spec_text, spec_hash) VALUES "
			 "(%s, 'dual_write', 'write_new', 7, '', '')",
			 quote_text(spec->name, a));
}

static void print_phase(const struct model *m, enum phase to, struct arena *a)
{
	json_t *list = json_array();

	if (to == PHASE_EXPANDED)
		append(list, ddl_state_schema());
	for (size_t i = 0; i < m->n_specs; i++) {
		if (to == PHASE_EXPANDED)
			append(list, create_state(m->specs[i], a));
		for (size_t j = 0; j < m->specs[i]->n_lenses; j++) {
			append_move(list, m->lenses[i][j], to, true, a);
			append_move(list, m->lenses[i][j], to, false, a);
		}
	}
	print_line(json_pack("{ss so}", "enter", phase_name(to), "ddl", list));
}

static void print_lens(const struct lens *l, struct arena *a)
{
	const char *keys = "", *columns = "";

	for (size_t i = 0; i < l->n_key; i++)
		keys = arena_fmt(
		    a, "%s%s%s", keys, i ? ", " : "",
		    quote_name(l->olds[l->key[i].old_index].column->name, a));
	for (size_t i = 0; i < l->n_old; i++)
		columns = arena_fmt(a, "%s%s%s", columns, i ? ", " : "",
				    quote_name(l->olds[i].column->name, a));
	print_line(json_pack("{ss ss ss}", "fill",
			     l->kind == LENS_COLUMNS /* by its trigger */
				 ? arena_fmt(a, "UPDATE %s SET (%s) = ROW(%s)",
					     l->old_ref, keys, keys)
				 : arena_fmt(a, "SELECT %s(NULL, %s) FROM %s",
					     l->to_new_ref, keys, l->old_ref),
			     "old",
			     arena_fmt(a, "SELECT %s FROM %s ORDER BY %s",
				       l->kind == LENS_COLUMNS ? columns : "*",
				       l->old_ref, keys),
			     "shown",
			     arena_fmt(a, "SELECT %s FROM %s ORDER BY %s",
				       columns, l->lens_ref, keys)));
}

void setup_print(const struct model *m, struct arena *a)
{
	print_base(m, a);
	for (unsigned to = PHASE_EXPANDED; to < PHASE_COUNT; to++)
		print_phase(m, (enum phase)to, a);
	for (size_t i = 0; i < m->n_specs; i++)
		for (size_t j = 0; j < m->specs[i]->n_lenses; j++)
			print_lens(m->lenses[i][j], a);
}
