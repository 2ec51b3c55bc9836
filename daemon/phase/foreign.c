#include "daemon/phase/foreign.h"

#include "daemon/phase/db.h"

static const char unvalidated_sql[] =
    "SELECT format('ALTER TABLE %s VALIDATE CONSTRAINT %I', f.relation,"
    " f.name), format('%I of %s', f.name, f.relation)"
    " FROM pgtandem.foreign_key f JOIN pg_constraint k"
    " ON k.conname = f.name AND k.conrelid = to_regclass(f.relation)"
    " WHERE f.migration = $1 AND f.state = 'unvalidated'"
    " AND NOT k.convalidated ORDER BY f.relation, f.name";

bool foreign_validate(struct job *j, struct problem *p)
{
	const char *const params[] = {j->m->name};
	PGresult *r = db_query(j->db, p, unvalidated_sql, 1, params);
	bool ok = r;

	for (int i = 0; ok && i < PQntuples(r); i++) {
		job_notice(j, "validating foreign key %s", db_text(r, i, 1));
		ok = db_exec(j->db, db_text(r, i, 0), p);
	}
	PQclear(r);
	if (!ok)
		return false;
	r = db_query(j->db, p,
		     "DELETE FROM pgtandem.foreign_key WHERE migration = $1"
		     " AND state = 'unvalidated'",
		     1, params);
	PQclear(r);
	return r;
}
