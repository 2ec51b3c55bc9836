/*
 * A schema file: what the statement cases run against.
 *
 * Owns the specifications, the descriptions of their old relations and the
 * lenses made of both, without any server.  The format:
 *
 *	-- define: NAME = text	an expected output may say {NAME} instead
 *	-- base:		SQL for check_against_server only
 *	-- spec:		a migration file, up to the next directive
 *	-- relation: public.inovices
 *	id integer not null default nextval('inovices_id_seq'::regclass)
 *	"Phone No" character varying(12)
 *	primary key (id)
 *
 * A new relation may be described too; else it is as expand makes it.
 */
#ifndef TESTS_CASES_MODEL_H
#define TESTS_CASES_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "config/arena.h"
#include "config/phase.h"
#include "config/spec.h"
#include "rewrite/catalog.h"
#include "rewrite/ruleset.h"

enum { MODEL_MOST = 16 }; /* of each kind of thing in one file */

struct define {
	const char *name; /* "{NAME}" */
	const char *text;
};

struct model {
	struct arena *a; /* everything lives in it */
	size_t n_specs, n_relations, n_defines;
	const struct spec *specs[MODEL_MOST];
	struct relation relations[MODEL_MOST];
	struct define defines[MODEL_MOST];
	const char *base;			/* "" if there is none */
	const struct lens **lenses[MODEL_MOST]; /* per specification */
};

/* Ends the program with a message on any mistake: it is our own file. */
const struct model *model_read(const char *path, struct arena *a);

/* The ruleset of all migrations in one phase. */
const struct ruleset *model_rules(const struct model *m, enum phase phase,
				  bool prelock, unsigned server_version,
				  struct arena *a);

/* Written texts: every {NAME} stands for its text, and back. */
const char *model_expand(const struct model *m, const char *text,
			 struct arena *a);
const char *model_contract(const struct model *m, const char *text,
			   struct arena *a);

/* A whole file, NUL-terminated. */
char *read_file(const char *path, struct arena *a);

/* "-- word: rest": the rest of the line in the arena, or NULL. */
const char *directive(const char *line, const char *word, struct arena *a);

/* The line behind this one, or its end. */
const char *next_line(const char *line);

#endif
