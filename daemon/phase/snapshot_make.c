#include "daemon/phase/snapshot_make.h"

#include <string.h>

#include "daemon/log.h"
#include "daemon/phase/catalog_json.h"

static bool old_read(const struct spec *spec, unsigned i,
		     const struct lens_source *source, struct arena *a,
		     const struct relation **ret, struct problem *p)
{
	const struct spec_lens *l = &spec->lenses[i];
	const struct relation *r;
	struct relation *with;

	if (!source->old_json) {
		problem_set(p, "42P01",
			    "pgtandem: migration %s: relation "
			    "%s.%s does not exist in database %s",
			    spec->name, l->old.schema, l->old.name,
			    spec->database);
		problem_hint(p, "Correct %s line %u, or create the relation.",
			     spec->file, l->line);
		return false;
	}
	if (!catalog_json_read(source->old_json, a, &r, p))
		return false;
	with = arena_alloc(a, sizeof(*with));
	*with = *r;
	with->husk = source->husk;
	*ret = with;
	return true;
}

/* One lens, or the two of a merge. */
static bool lens_make(const struct spec *spec, unsigned i,
		      const struct lens_source *source, struct arena *a,
		      const struct lens **ret, struct problem *p)
{
	const struct relation *old[2], *new = NULL;

	if (!old_read(spec, i, &source[0], a, &old[0], p) ||
	    (source->new_json &&
	     !catalog_json_read(source->new_json, a, &new, p)))
		return false;
	if (spec->lenses[i].half == 0)
		return lens_compile(spec, i + 1, old[0], new, a, ret, p);
	return old_read(spec, i + 1, &source[1], a, &old[1], p) &&
	       lens_compile_merge(spec, i + 1, old, new, a, ret, p);
}

bool lenses_compile(const struct spec *spec, const struct lens_source *sources,
		    struct arena *a, const struct lens *const **ret,
		    struct problem *p)
{
	const struct lens **all =
	    arena_alloc(a, spec->n_lenses * sizeof(const struct lens *));

	for (unsigned i = 0; i < spec->n_lenses; i++)
		if (spec->lenses[i].half != 2 &&
		    !lens_make(spec, i, &sources[i], a, &all[i], p))
			return false;
	*ret = all;
	return true;
}

void rule_fill(const struct spec *spec, const struct state_row *row,
	       const struct lens *const *lenses, struct rule_migration *ret)
{
	*ret = (struct rule_migration){
	    .spec = spec,
	    .phase = row->phase,
	    .epoch = row->epoch,
	    .read_percent = row->read_percent,
	    .prelock = row->prelock,
	    .n_lenses = spec->n_lenses,
	    .lenses = lenses,
	};
}

/* A text means something else in each database, and workers keep what they
 * have parsed by the serial of the rules: no two databases share one. */
enum { DATABASE_BITS = 16 };

/* FNV-1a. */
static uint64_t text_hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3;
	return h;
}

/* The old relation of another migration, if it has this name. */
static const char *described_by(const struct database *d,
				const struct spec_name *name)
{
	for (size_t i = 0; i < d->n_migrations; i++) {
		const struct migration *m = d->migrations[i];

		for (size_t k = 0; !m->gone && k < m->n_lenses; k++)
			if (strcmp(m->spec->lenses[k].old.schema,
				   name->schema) == 0 &&
			    strcmp(m->spec->lenses[k].old.name, name->name) ==
				0)
				return m->sources[k].old_json;
	}
	return NULL;
}

/* A contracted migration's new relation may be another one's old, and gone
 * with it: that one knows its description. */
static bool lenses_of(const struct database *d, const struct migration *m,
		      struct arena *a, const struct lens *const **ret,
		      struct problem *p)
{
	struct lens_source *sources =
	    arena_alloc(a, m->n_lenses * sizeof(*sources));

	for (size_t i = 0; i < m->n_lenses; i++) {
		sources[i] = m->sources[i];
		if (!sources[i].new_json && m->row.phase == PHASE_CONTRACTED)
			sources[i].new_json =
			    (char *)described_by(d, &m->spec->lenses[i].new);
	}
	return lenses_compile(m->spec, sources, a, ret, p);
}

/* All of a database's migrations; `m`, if not NULL, as if it stood in
 * write_new. */
static bool rules_fill(const struct database *d, const struct migration *m,
		       struct arena *a, struct rule_migration *rules,
		       size_t *ret_n, struct problem *p)
{
	const struct lens *const *lenses;

	*ret_n = 0;
	for (size_t i = 0; i < d->n_migrations; i++) {
		const struct migration *each = d->migrations[i];

		if (each->gone || each->unfit)
			continue;
		if (!lenses_of(d, each, a, &lenses, p))
			return false;
		rule_fill(each->spec, &each->row, lenses, &rules[*ret_n]);
		if (each == m)
			rules[*ret_n].phase = PHASE_WRITE_NEW;
		++*ret_n;
	}
	return true;
}

/* Lens `number` - 1 of this migration leads to one end for these names. */
static void earlier_fill(const struct ruleset *rules, const struct spec *spec,
			 unsigned lens, struct lens *l, struct arena *a)
{
	const struct lens **earlier =
	    arena_alloc(a, (rules->n_names + 1) * sizeof(*earlier));

	for (size_t i = 0; i < rules->n_names; i++) {
		const struct rule_name *n = &rules->names[i];

		if (n->decider != n->migration && !n->broken &&
		    rules->migrations[n->decider].spec == spec &&
		    n->through->new ==
			rules->migrations[n->decider].lenses[lens]->new)
			earlier[l->n_earlier++] = n->through;
	}
	l->earlier = earlier;
}

bool lenses_find_earlier(const struct migration *m, struct arena *a,
			 const struct lens *const **lenses, struct problem *p)
{
	const struct database *d = m->database;
	struct rule_migration *rules =
	    arena_alloc(a, (d->n_migrations + 1) * sizeof(*rules));
	struct ruleset_input in = {.database = d->name, .migrations = rules};
	const struct lens **with =
	    arena_alloc(a, m->spec->n_lenses * sizeof(*with));
	const struct ruleset *all;
	struct problem none;

	if (!rules_fill(d, m, a, rules, &in.n_migrations, p))
		return false;
	/* Where another one has not ended yet, it is this one's turn later. */
	if (!ruleset_build(&in, a, &all, &none))
		return true;
	for (unsigned i = 0; i < m->spec->n_lenses; i++) {
		struct lens *l = arena_alloc(a, sizeof(*l));

		*l = *(*lenses)[i];
		earlier_fill(all, m->spec, i, l, a);
		with[i] = l;
	}
	*lenses = with;
	return true;
}

static bool database_fill(struct database *d, struct snapshot *s,
			  struct snapshot_database *ret, struct problem *p)
{
	struct arena *a = &s->arena;
	struct rule_migration *rules =
	    arena_alloc(a, (d->n_migrations + 1) * sizeof(*rules));
	struct ruleset_input in = {
	    .serial = s->serial << DATABASE_BITS | s->n_databases,
	    .database = arena_str(a, d->name),
	    .max_statement_bytes = s->settings->max_statement_bytes,
	    .server_version = (unsigned)d->server_version,
	    .migrations = rules,
	};
	size_t n = 0;

	ret->name = in.database;
	ret->lease = &d->lease;
	ret->usage =
	    arena_alloc(a, (d->n_migrations + 1) * sizeof(struct usage *));
	for (size_t i = 0; i < d->n_migrations; i++) {
		struct migration *m = d->migrations[i];

		if (m->gone || m->unfit)
			continue;
		ret->usage[n] = m->usage;
		if (m->held)
			ret->held |= UINT64_C(1) << n;
		n++;
	}
	if (!rules_fill(d, NULL, a, rules, &in.n_migrations, p) ||
	    !ruleset_build(&in, a, &ret->rules, p))
		return false;
	ret->probe_sql = ruleset_probe_sql(ret->rules, a);
	ret->probe_hash = ret->probe_sql ? text_hash(ret->probe_sql) : 1;
	return true;
}

bool snapshot_make(struct control *c, struct snapshot **ret, struct problem *p)
{
	struct snapshot *s =
	    snapshot_create(settings_ref(c->settings), c->serial + 1);

	s->databases = arena_alloc(
	    &s->arena, (c->n_databases + 1) * sizeof(*s->databases));
	for (size_t i = 0; i < c->n_databases; i++) {
		if (!database_fill(c->databases[i], s,
				   &s->databases[s->n_databases], p)) {
			snapshot_unref(s);
			return false;
		}
		s->n_databases++;
	}
	c->serial = s->serial;
	*ret = s;
	return true;
}

bool snapshot_publish(struct control *c, struct problem *p)
{
	struct snapshot *s;

	if (!c->server)
		return true;
	if (!snapshot_make(c, &s, p)) {
		log_error("no new rules for statements could be made, the "
			  "last ones stay in force: %s",
			  p->message);
		return false;
	}
	server_publish(c->server, s);
	return true;
}
