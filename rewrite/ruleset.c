/*
 * The name pre-filter looks at every byte once, for the rarest letter of each
 * name, and knows nothing of strings, comments or quotes: a scanner that gets
 * the lexical state wrong once misses a name.  A name under migration is found
 * wherever its bytes stand between bytes that cannot belong to a name; that is
 * more than the parser will find, never less:
 *
 *   - an unquoted name is folded, so a name in lower case is compared without
 *     regard to case; one with upper case letters can only stand in quotes;
 *   - a double quote within a name is written twice;
 *   - a name of 60 bytes or more may be the beginning of a longer one that
 *     the server cuts to 63 bytes, whole characters;
 *   - `$` counts as an end of a name, for $tag$ may touch one;
 *   - U&"..." can spell any name.
 */
#include "rewrite/ruleset.h"

#include <string.h>

#include "rewrite/chain.h"
#include "rewrite/lens_child.h"

enum { BYTES = 256, CUT_FROM = 60 };

/* clang-format off */
static const bool name_bytes[BYTES] = {
	['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true,
	['_'] = true, [0x80 ... 0xff] = true,
};
/* clang-format on */

static bool is_name_byte(unsigned char c)
{
	return name_bytes[c];
}

static unsigned char fold(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

struct needle {
	const char *bytes;
	size_t len;
	bool exact;  /* has upper case: compared byte for byte */
	size_t rare; /* index of the byte that is looked for */
	bool word_before, word_after; /* its ends are name bytes */
	uint8_t next; /* the next with this rare byte, or NONE */
};

enum { NONE = 0xff };

struct filter {
	bool stop[BYTES];     /* some needle's rare byte, or & */
	uint8_t first[BYTES]; /* index of a needle, or NONE */
	struct needle needles[RULESET_MAX_NAMES];
};

/* May a name begin at `at`, as far as the byte before it says? */
static bool starts_word(const unsigned char *s, size_t at)
{
	return at == 0 || !is_name_byte(s[at - 1]);
}

static bool ends_word(const unsigned char *s, size_t at, size_t len)
{
	return at == len || !is_name_byte(s[at]);
}

static bool same_folded(const unsigned char *s, const char *lower, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fold(s[i]) != (unsigned char)lower[i])
			return false;
	return true;
}

/* Does the needle stand where its rare byte is at `rare_at`? */
static bool needle_at(const struct needle *n, const unsigned char *s,
		      size_t rare_at, size_t len)
{
	size_t at = rare_at - n->rare;

	if (rare_at < n->rare)
		return false;
	if (len - at < n->len || (n->word_before && !starts_word(s, at)))
		return false;
	if (n->exact ? memcmp(s + at, n->bytes, n->len) != 0
		     : !same_folded(s + at, n->bytes, n->len))
		return false;
	return !n->word_after || n->len >= CUT_FROM ||
	       ends_word(s, at + n->len, len);
}

/* Is this the & of U&"? */
static bool is_unicode_name(const unsigned char *s, size_t at, size_t len)
{
	return s[at] == '&' && at > 0 && at + 1 < len &&
	       fold(s[at - 1]) == 'u' && s[at + 1] == '"';
}

bool ruleset_mentions(const struct ruleset *r, const char *sql, size_t len)
{
	const unsigned char *s = (const unsigned char *)sql;
	const struct filter *f = r->filter;

	if (r->n_names == 0)
		return false;
	for (size_t at = 0; at < len; at++) {
		if (!f->stop[s[at]])
			continue;
		if (is_unicode_name(s, at, len))
			return true;
		for (unsigned i = f->first[s[at]]; i != NONE;
		     i = f->needles[i].next)
			if (needle_at(&f->needles[i], s, at, len))
				return true;
	}
	return false;
}

/* The byte that the scan stops least often for: letters of SQL texts, the
 * frequent first; what is not here counts as frequent. */
static size_t rarest(const char *bytes, size_t len)
{
	static const char order[] = "etaoinsrlcdmu_pfgbhywvkjxqz";
	ptrdiff_t best = -1;
	size_t index = 0;

	for (size_t i = 0; i < len; i++) {
		const char *c = strchr(order, fold((unsigned char)bytes[i]));

		if (c == NULL || c - order <= best)
			continue;
		best = c - order;
		index = i;
	}
	return index;
}

static void needle_make(struct needle *n, const char *name, struct arena *a)
{
	char *bytes = arena_alloc(a, 2 * strlen(name) + 1), *out = bytes;

	for (const char *c = name; *c != '\0'; c++) {
		if (*c == '"')
			*out++ = '"';
		*out++ = *c;
		n->exact |= *c >= 'A' && *c <= 'Z';
	}
	n->bytes = bytes;
	n->len = (size_t)(out - bytes);
	n->rare = rarest(n->bytes, n->len);
	n->word_before = is_name_byte((unsigned char)bytes[0]);
	n->word_after = is_name_byte((unsigned char)out[-1]);
}

static const struct filter *filter_make(const struct rule_name *names,
					size_t n_names, struct arena *a)
{
	struct filter *f = arena_alloc(a, sizeof(*f));

	memset(f->first, NONE, sizeof(f->first));
	f->stop['&'] = true;
	for (size_t i = 0; i < n_names; i++) {
		struct needle *n = &f->needles[i];
		unsigned char low, up;

		needle_make(n, names[i].name, a);
		low = up = fold((unsigned char)n->bytes[n->rare]);
		if (low >= 'a' && low <= 'z')
			up = (unsigned char)(low - ('a' - 'A'));
		n->next = f->first[low];
		f->first[low] = f->first[up] = (uint8_t)i;
		f->stop[low] = f->stop[up] = true;
	}
	return f;
}

/* Words that may change what a bare name means, by their first letter.
 * CREATE, ALTER and DROP make, move and unmake what stands in the way. */
enum { MOST_WORDS = 4 };
/* clang-format off */
static const char *const changing_words['z' - 'a' + 1][MOST_WORDS] = {
	['a' - 'a'] = {"alter", "authorization"},
	['c' - 'a'] = {"create"},
	['d' - 'a'] = {"discard", "drop"},
	['p' - 'a'] = {"pgtandem"}, /* .shape */
	['r' - 'a'] = {"role", "reset", "rollback"},
	['s' - 'a'] = {"search_path", "set_config", "schema"},
	['t' - 'a'] = {"temp", "temporary"},
};
/* clang-format on */

static bool word_at(const char *word, const unsigned char *s, size_t at,
		    size_t len)
{
	size_t n = strlen(word);

	return len - at >= n && same_folded(s + at, word, n) &&
	       ends_word(s, at + n, len);
}

/* ROLLBACK alone ends the transaction, which the session sees; ROLLBACK TO
 * takes back a SET inside it. */
static bool word_follows(const char *word, const unsigned char *s, size_t at,
			 size_t len)
{
	for (; at < len; at++)
		if (starts_word(s, at) && word_at(word, s, at, len))
			return true;
	return false;
}

static bool changes_names_at(const unsigned char *s, size_t at, size_t len)
{
	const char *const *words = changing_words[fold(s[at]) - 'a'];

	for (size_t i = 0; i < MOST_WORDS && words[i] != NULL; i++)
		if (word_at(words[i], s, at, len))
			return strcmp(words[i], "rollback") != 0 ||
			       word_follows("to", s, at, len);
	return false;
}

bool sql_may_change_names(const char *sql, size_t len)
{
	const unsigned char *s = (const unsigned char *)sql;
	bool after_name = false;

	for (size_t at = 0; at < len; at++) {
		bool before = after_name;

		after_name = is_name_byte(s[at]);
		if (is_unicode_name(s, at, len))
			return true;
		if (!before && fold(s[at]) >= 'a' && fold(s[at]) <= 'z' &&
		    changes_names_at(s, at, len))
			return true;
	}
	return false;
}

static bool same_relation(const struct rule_name *l, const struct rule_name *r)
{
	return strcmp(l->schema, r->schema) == 0 &&
	       strcmp(l->name, r->name) == 0;
}

/* The names gathered so far, and where each comes from. */
struct gather {
	const struct ruleset_input *in;
	struct arena *a;
	const struct rule_migration *migrations; /* the ruleset's own */
	struct rule_name *names;
	size_t n;
	struct problem *problem;
};

/*
 * A relation that one migration has made and another carries on is the later
 * one's as soon as the earlier one has ended; until then the later one waits.
 */
static bool give_way(struct gather *g, struct rule_name *had,
		     const struct rule_name *name)
{
	const struct rule_migration *m = g->in->migrations;
	const struct rule_name *made = had->shape == SHAPE_NEW ? had : name;
	const struct rule_name *taken = had->shape == SHAPE_NEW ? name : had;

	if (had->shape == SHAPE_NEW && name->shape == SHAPE_NEW &&
	    had->migration == name->migration)
		return true; /* a merge: the first half speaks for both */
	if (made->shape == SHAPE_NEW && taken->shape == SHAPE_OLD &&
	    made->migration != taken->migration) {
		if (m[made->migration].phase == PHASE_CONTRACTED) {
			*had = *taken;
			return true;
		}
		if (m[taken->migration].phase == PHASE_PLANNED) {
			*had = *made;
			return true;
		}
	}
	return problem_set(
	    g->problem, "F0000", "%s.%s is under migration twice, in %s and %s",
	    name->schema, name->name, m[had->migration].spec->name,
	    m[name->migration].spec->name);
}

static bool add_name(struct gather *g, struct rule_name name)
{
	for (size_t i = 0; i < g->n; i++)
		if (same_relation(&g->names[i], &name))
			return give_way(g, &g->names[i], &name);
	if (g->n == RULESET_MAX_NAMES)
		return problem_set(g->problem, "54000",
				   "more than %d "
				   "relations are under migration in one "
				   "database",
				   RULESET_MAX_NAMES);
	g->names[g->n++] = name;
	return true;
}

/* Is the old relation's name one of the new shape too? */
static const bool keeps_name[] = {
    [LENS_TABLE] = false,
    [LENS_COLUMNS] = true,
    [LENS_CHILD] = true,
    [LENS_MERGE] = false,
};

static bool add_lens(struct gather *g, unsigned migration, unsigned lens)
{
	const struct lens *l = g->in->migrations[migration].lenses[lens];
	const struct relation *new = l->child ? l->child->relation : l->new;

	if (!add_name(g, (struct rule_name){.schema = l->old->schema,
					    .name = l->old->name,
					    .shape = SHAPE_OLD,
					    .shared = keeps_name[l->kind],
					    .migration = migration,
					    .lens = lens}))
		return false;
	return l->kind == LENS_COLUMNS ||
	       add_name(g, (struct rule_name){.schema = new->schema,
					      .name = new->name,
					      .shape = SHAPE_NEW,
					      .migration = migration,
					      .lens = lens});
}

/* The name by which a lens's new relation is migrated on, or NULL: not the
 * lens's own, where the relation has kept its name. */
static const struct rule_name *find_next(const struct gather *g,
					 const struct lens *l)
{
	const struct rule_name made = {.schema = l->new->schema,
				       .name = l->new->name};

	for (size_t i = 0; i < g->n; i++)
		if (g->names[i].shape == SHAPE_OLD &&
		    same_relation(&g->names[i], &made) &&
		    !same_relation(&made,
				   &(struct rule_name){.schema = l->old->schema,
						       .name = l->old->name}))
			return &g->names[i];
	return NULL;
}

/* One step along the chain; false at its end. */
static bool serve_next(struct gather *g, struct rule_name *n)
{
	const struct rule_name *next = n->rule->phase == PHASE_CONTRACTED
					   ? find_next(g, n->through)
					   : NULL;
	const struct rule_migration *m;
	struct rule_migration *as;
	const struct lens *with;
	struct problem p;
	bool ok;

	if (next == NULL)
		return false;
	m = &g->migrations[next->migration];
	if (m->phase < PHASE_DUAL_WRITE &&
	    !(m->phase == PHASE_EXPANDED &&
	      m->lenses[next->lens]->kind != LENS_TABLE))
		return false;
	with = m->lenses[next->lens];
	as = arena_alloc(g->a, sizeof(*as));
	*as = *m;
	n->rule = as;
	n->decider = next->migration;
	if (m->phase < PHASE_WRITE_NEW) {
		as->phase = PHASE_WRITE_NEW;
		as->prelock = false;
		ok = chain_beside(n->through, with, g->a, &n->through, &p);
	} else {
		ok = chain_compose(n->through, with, g->a, &n->through, &p);
	}
	if (!ok)
		n->broken = arena_str(g->a, p.message);
	return ok && m->phase == PHASE_CONTRACTED;
}

/* The chain is as long as there are migrations, at most. */
static void serve(struct gather *g)
{
	for (size_t i = 0; i < g->n; i++) {
		struct rule_name *n = &g->names[i];
		size_t left = g->in->n_migrations;

		n->decider = n->migration;
		n->rule = &g->migrations[n->migration];
		n->through = n->rule->lenses[n->lens];
		while (n->shape == SHAPE_OLD && left-- > 0 && serve_next(g, n))
			;
		if (n->shape == SHAPE_OLD)
			n->columns = lens_columns(n->through, g->a);
	}
}

bool ruleset_build(const struct ruleset_input *in, struct arena *a,
		   const struct ruleset **ret, struct problem *p)
{
	size_t n = in->n_migrations;
	struct ruleset *r = arena_alloc(a, sizeof(*r));
	struct rule_migration *migrations =
	    arena_alloc(a, (n + 1) * sizeof(*migrations));
	struct gather g = {
	    .in = in, .a = a, .migrations = migrations, .problem = p};

	if (n > RULESET_MAX_MIGRATIONS)
		return problem_set(p, "54000",
				   "more than %d migrations in one database",
				   RULESET_MAX_MIGRATIONS);
	g.names = arena_alloc(a, RULESET_MAX_NAMES * sizeof(*g.names));
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < in->migrations[i].n_lenses; j++)
			if (!add_lens(&g, i, j))
				return false;
	if (n > 0)
		memcpy(migrations, in->migrations, n * sizeof(*migrations));
	serve(&g);
	*r = (struct ruleset){.serial = in->serial,
			      .database = arena_str(a, in->database),
			      .n_migrations = n,
			      .migrations = migrations,
			      .n_names = g.n,
			      .names = g.names,
			      .max_statement_bytes = in->max_statement_bytes,
			      .filter = filter_make(g.names, g.n, a)};
	*ret = r;
	return true;
}

/*
 * Per name: `at` is its home schema's place in the path as it is in force,
 * pg_temp and pg_catalog included; whatever relation of that name has an
 * earlier place is what the name means.  Everything is qualified, operators
 * too: the path is the very thing that cannot be trusted here.
 */
/* clang-format off */
static const char probe_before[] =
	"SELECT CASE WHEN pg_catalog.lower(pg_catalog.current_setting("
	"'pgtandem.shape', true)) OPERATOR(pg_catalog.=) 'new' "
	"THEN '1' ELSE '0' END OPERATOR(pg_catalog.||) "
	"pg_catalog.string_agg(CASE WHEN h.at IS NULL OR EXISTS ("
	"SELECT 1 FROM pg_catalog.pg_class AS c "
	"JOIN pg_catalog.pg_namespace AS s "
	"ON s.oid OPERATOR(pg_catalog.=) c.relnamespace "
	"WHERE c.relname OPERATOR(pg_catalog.=) n.name "
	"AND pg_catalog.array_position(h.path, s.nspname) "
	"OPERATOR(pg_catalog.<) h.at) "
	"THEN '1' ELSE '0' END, '' ORDER BY n.i) FROM (VALUES ";
static const char probe_after[] =
	") AS n(i, home, name), LATERAL (SELECT p.path, "
	"pg_catalog.array_position(p.path, n.home) AS at "
	"FROM (SELECT pg_catalog.current_schemas(true) AS path) AS p) AS h";
/* clang-format on */

const char *ruleset_probe_sql(const struct ruleset *r, struct arena *a)
{
	const char *rows = "";

	if (r->n_names == 0)
		return NULL;
	for (size_t i = 0; i < r->n_names; i++)
		rows = arena_fmt(a,
				 "%s%s(%zu, %s::pg_catalog.name, "
				 "%s::pg_catalog.name)",
				 rows, i == 0 ? "" : ", ", i,
				 quote_text(r->names[i].schema, a),
				 quote_text(r->names[i].name, a));
	return arena_fmt(a, "%s%s%s", probe_before, rows, probe_after);
}

uint64_t ruleset_probe_mask(const char *answer, size_t len)
{
	uint64_t mask = len > 0 && answer[0] == '1' ? RULESET_NEW_SHAPE : 0;

	for (size_t i = 1; i < len && i <= RULESET_MAX_NAMES; i++)
		if (answer[i] == '1')
			mask |= UINT64_C(1) << (i - 1);
	return mask;
}

enum shape rule_name_shape(const struct rule_name *n, uint64_t hidden)
{
	return n->shared && (hidden & RULESET_NEW_SHAPE) ? SHAPE_NEW : n->shape;
}
