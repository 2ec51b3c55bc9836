/*
 * The state that pgtandem keeps in the target database, schema pgtandem.
 *
 * `migration` is the control side's (daemon/phase/state.h).  The functions of
 * a lens read three of its columns at run time, inside the client's
 * transaction: `epoch` (the fence), `on_violation` and `old_stale` (is a row
 * that the other model refuses an error or a finding).
 *
 * `walk` is the walker's: where each job stands, per lens and direction.
 *
 * `finding` has one row per lens, kind, relation and key, the newest.
 *
 * `made` remembers which relations pgtandem created, so that going back drops
 * those and no others.
 *
 * The tables are pgtandem's alone: PUBLIC may look into the schema, since
 * clients' statements name the functions and views of lenses there, and what
 * they may do is said on each of those.
 */
#include "rewrite/ddl.h"

/* clang-format off */
static const char state_schema[] =
"CREATE SCHEMA IF NOT EXISTS pgtandem;\n"
"GRANT USAGE ON SCHEMA pgtandem TO PUBLIC;\n"
"\n"
"CREATE TABLE IF NOT EXISTS pgtandem.migration (\n"
"	name text PRIMARY KEY,\n"
"	database text NOT NULL DEFAULT pg_catalog.current_database(),\n"
"	phase text NOT NULL,\n"
"	epoch bigint NOT NULL,\n"
"	pending_from text,\n"
"	prelock boolean NOT NULL DEFAULT false,\n"
"	old_stale boolean NOT NULL DEFAULT false,\n"
"	on_violation text NOT NULL DEFAULT 'fail',\n"
"	filled boolean NOT NULL DEFAULT false,\n"
"	paused boolean NOT NULL DEFAULT false,\n"
"	spec_text text NOT NULL,\n"
"	spec_hash text NOT NULL,\n"
"	old_description jsonb,\n"
"	entered_at timestamptz NOT NULL DEFAULT pg_catalog.now(),\n"
"	changed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),\n"
"	verified_at timestamptz,\n"
"	verified_epoch bigint,\n"
"	verified_clean boolean,\n"
"	verified_summary text,\n"
"	verified_lossy bigint,\n"
"	last_old_use timestamptz,\n"
"	read_percent int NOT NULL DEFAULT 100,\n"
"	rate bigint NOT NULL DEFAULT 0,\n"
"	mover text,\n"
"	mover_since timestamptz\n"
");\n"
"\n"
"CREATE TABLE IF NOT EXISTS pgtandem.walk (\n"
"	migration text NOT NULL,\n"
"	lens int NOT NULL,\n"
"	job text NOT NULL,\n"
"	direction text NOT NULL,\n"
"	mode text NOT NULL,\n"
"	state text NOT NULL,\n"
"	last text[],\n"
"	rows_done bigint NOT NULL DEFAULT 0,\n"
"	rows_total bigint NOT NULL DEFAULT 0,\n"
"	result jsonb NOT NULL DEFAULT '{}',\n"
"	started timestamptz NOT NULL DEFAULT pg_catalog.now(),\n"
"	updated timestamptz NOT NULL DEFAULT pg_catalog.now(),\n"
"	error text,\n"
"	PRIMARY KEY (migration, lens, job, direction)\n"
");\n"
"\n"
"CREATE TABLE IF NOT EXISTS pgtandem.event (\n"
"	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n"
"	at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),\n"
"	migration text NOT NULL,\n"
"	who text NOT NULL,\n"
"	what text NOT NULL,\n"
"	from_phase text,\n"
"	to_phase text,\n"
"	epoch bigint,\n"
"	detail text\n"
");\n"
"CREATE INDEX IF NOT EXISTS event_migration_id"
" ON pgtandem.event (migration, id);\n"
"\n"
"CREATE TABLE IF NOT EXISTS pgtandem.finding (\n"
"	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n"
"	migration text NOT NULL,\n"
"	lens int NOT NULL,\n"
"	kind text NOT NULL,\n"
"	relation text NOT NULL,\n"
"	key text NOT NULL,\n"
"	key_values text[] NOT NULL,\n"
"	detail text,\n"
"	seen_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),\n"
"	UNIQUE (migration, lens, kind, relation, key_values)\n"
");\n"
"\n"
"CREATE TABLE IF NOT EXISTS pgtandem.made (\n"
"	migration text NOT NULL,\n"
"	lens int NOT NULL,\n"
"	relation text NOT NULL,\n"
"	PRIMARY KEY (migration, lens)\n"
");\n"
"\n"
/* The INSTEAD OF trigger of every L_shape view: the row goes on to RETURNING
 * as PostgreSQL has made it, and nothing is stored. */
"CREATE OR REPLACE FUNCTION pgtandem.keep_row() RETURNS trigger\n"
"LANGUAGE plpgsql AS $pgtandem$\n"
"BEGIN\n"
"	RETURN NEW;\n"
"END\n"
"$pgtandem$;\n"
"\n"
"CREATE OR REPLACE FUNCTION pgtandem.note_finding(p_migration text,\n"
"	p_lens int, p_kind text, p_relation text, p_key text[],\n"
"	p_detail text) RETURNS void\n"
"LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp\n"
"AS $pgtandem$\n"
"	INSERT INTO pgtandem.finding AS f (migration, lens, kind, relation,\n"
"		key, key_values, detail)\n"
"	VALUES ($1, $2, $3, $4, array_to_string($5, ', '), $5, $6)\n"
"	ON CONFLICT (migration, lens, kind, relation, key_values)\n"
"	DO UPDATE SET detail = excluded.detail, seen_at = excluded.seen_at\n"
"$pgtandem$;\n"
"REVOKE ALL ON FUNCTION pgtandem.note_finding(text, int, text, text,"
" text[], text) FROM PUBLIC;\n";
/* clang-format on */

const char *ddl_state_schema(void)
{
	return state_schema;
}
