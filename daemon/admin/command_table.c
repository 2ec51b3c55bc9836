/*
 * The table of console commands, and what each row does.
 */
#include "daemon/admin/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/admin/metrics.h"
#include "daemon/admin/view.h"
#include "daemon/log.h"

enum { MAX_CLIENTS = 10000, NUMBER_SIZE = 24 };

static void number(char *ret, uint64_t v)
{
	snprintf(ret, NUMBER_SIZE, "%" PRIu64, v);
}

/* -- SHOW -- */

static bool run_help(const struct command_run *run, struct problem *p)
{
	for (size_t i = 0; i < command_count; i++) {
		const char *row[] = {command_table[i].grammar,
				     command_table[i].help};

		run->row(run->row_arg, row);
	}
	return true;
}

static bool run_view(const struct command_run *run, struct problem *p)
{
	return control_view(run->admin->control, run->command->def->view,
			    run->command->migration, run->row, run->row_arg, p);
}

static void row_client(const struct command_run *run,
		       const struct client_info *c)
{
	char worker[NUMBER_SIZE], id[NUMBER_SIZE], pid[NUMBER_SIZE];
	char epoch[NUMBER_SIZE], statements[NUMBER_SIZE], since[32];
	char tx[2] = {c->tx, '\0'};
	time_t at = (time_t)(c->connected_ms / 1000);
	struct tm tm;
	const char *row[] = {
	    id,
	    worker,
	    c->user,
	    c->database,
	    c->application,
	    c->address,
	    c->state,
	    tx,
	    c->backend_pid ? pid : NULL,
	    c->client_tls ? "on" : "off",
	    c->server_tls ? "on" : "off",
	    c->serial ? epoch : NULL,
	    since,
	    statements,
	};

	number(worker, c->worker);
	number(id, c->id);
	number(pid, c->backend_pid);
	number(epoch, c->serial);
	number(statements, c->statements);
	gmtime_r(&at, &tm);
	strftime(since, sizeof(since), "%F %T+00", &tm);
	run->row(run->row_arg, row);
}

static bool run_clients(const struct command_run *run, struct problem *p)
{
	struct client_info *list = calloc(MAX_CLIENTS, sizeof(*list));
	size_t n;

	if (!list)
		return problem_set(p, "53200", "out of memory");
	n = server_list_clients(run->admin->server, list, MAX_CLIENTS);
	for (size_t i = 0; i < n; i++)
		row_client(run, &list[i]);
	free(list);
	return true;
}

static void row_metric(void *arg, const struct metric_sample *s)
{
	const struct command_run *run = arg;
	char name[256];
	const char *row[] = {name, s->value, s->help};

	snprintf(name, sizeof(name), "%s%s", s->name, s->labels);
	run->row(run->row_arg, row);
}

static bool run_stats(const struct command_run *run, struct problem *p)
{
	return metrics_each(run->admin, row_metric, (void *)run, p);
}

static bool run_config(const struct command_run *run, struct problem *p)
{
	struct settings *s = admin_settings(run->admin);
	const struct setting_value *values;
	struct arena a;
	size_t n;

	arena_init(&a);
	n = settings_list(s, &a, &values);
	for (size_t i = 0; i < n; i++) {
		const char *row[] = {values[i].name, values[i].value,
				     values[i].what};

		run->row(run->row_arg, row);
	}
	arena_free(&a);
	settings_unref(s);
	return true;
}

static bool run_version(const struct command_run *run, struct problem *p)
{
	const char *row[] = {"pgtandem " PGTANDEM_VERSION};

	run->row(run->row_arg, row);
	return true;
}

static bool run_explain(const struct command_run *run, struct problem *p)
{
	const struct command *c = run->command;
	struct problem refusal = {0};
	struct arena a;
	const char *text = NULL;
	bool ok;

	arena_init(&a);
	ok = control_explain(run->admin->control, c->migration, c->phase,
			     c->sql, &a, &text, &refusal, p);
	if (ok && text)
		run->row(run->row_arg, &text);
	if (ok && !text) {
		*p = refusal;
		/* It counts in the quoted statement, not in the command. */
		p->position = 0;
		ok = false;
	}
	arena_free(&a);
	return ok;
}

/* -- moves -- */

static bool is_at(const struct command_run *run, enum phase phase)
{
	struct view_rows v;
	struct problem p;
	struct arena a;
	const char *now;
	size_t row;
	bool ret = false;

	arena_init(&a);
	if (view_collect(run->admin->control, VIEW_MIGRATIONS, NULL, &a, &v,
			 &p) &&
	    view_find(&v, "name", run->command->migration, &row)) {
		now = view_get(&v, row, "phase");
		ret = now && strcmp(now, phase_name(phase)) == 0;
	}
	arena_free(&a);
	return ret;
}

/* What cannot be undone wants the name a second time. */
static bool check_force(const struct command_run *run, struct problem *p)
{
	const struct command *c = run->command;

	if (c->again && strcmp(c->again, c->migration) != 0) {
		problem_set(p, "22023", "the names differ: \"%s\" and \"%s\"",
			    c->migration, c->again);
		problem_hint(p, "Type the same migration's name twice.");
		return false;
	}
	if (c->again || !(c->words & WORD_FORCE))
		return true;
	if (c->phase != PHASE_CONTRACTED &&
	    (c->phase != PHASE_COUNT || !is_at(run, PHASE_NEW_ONLY)))
		return true;
	problem_set(p, "22023", "the move into contracted cannot be undone");
	problem_detail(p, "It drops the old model; FORCE would not wait for "
			  "the quiet period.");
	problem_hint(p, "ADVANCE %s TO contracted FORCE %s", c->migration,
		     c->migration);
	return false;
}

static bool run_advance(const struct command_run *run, struct problem *p)
{
	const struct command *c = run->command;

	return check_force(run, p) &&
	       control_advance(run->admin->control, c->migration, c->phase,
			       c->words & WORD_FORCE, run->progress, p);
}

static bool run_rollback(const struct command_run *run, struct problem *p)
{
	return control_rollback(run->admin->control, run->command->migration,
				run->progress, p);
}

/* -- the walker -- */

static bool run_backfill(const struct command_run *run, struct problem *p)
{
	unsigned words = run->command->words;
	enum walk_command what = words & WORD_PAUSE    ? WALK_PAUSE
				 : words & WORD_RESUME ? WALK_RESUME
						       : WALK_START;

	return control_walk(run->admin->control, run->command->migration, what,
			    p);
}

static bool run_set_rate(const struct command_run *run, struct problem *p)
{
	return control_set(run->admin->control, run->command->migration, "rate",
			   run->command->number, p);
}

static bool run_set_percent(const struct command_run *run, struct problem *p)
{
	return control_set(run->admin->control, run->command->migration,
			   "read_percent", run->command->number, p);
}

static bool run_verify(const struct command_run *run, struct problem *p)
{
	struct verify_result v;
	char text[5][NUMBER_SIZE];
	const char *row[] = {text[0], text[1], text[2], text[3], text[4]};

	if (!control_verify(run->admin->control, run->command->migration,
			    run->progress, &v, p))
		return false;
	number(text[0], v.compared);
	number(text[1], v.missing);
	number(text[2], v.extra);
	number(text[3], v.different);
	number(text[4], v.lossy);
	run->row(run->row_arg, row);
	return true;
}

static bool run_repair(const struct command_run *run, struct problem *p)
{
	uint64_t repaired;
	char text[NUMBER_SIZE];
	const char *row[] = {text};

	if (!control_repair(run->admin->control, run->command->migration,
			    run->progress, &repaired, p))
		return false;
	number(text, repaired);
	run->row(run->row_arg, row);
	return true;
}

/* -- the daemon -- */

static bool run_pause(const struct command_run *run, struct problem *p)
{
	atomic_store(&run->admin->paused, true);
	server_pause(run->admin->server);
	return true;
}

static bool run_resume(const struct command_run *run, struct problem *p)
{
	server_resume(run->admin->server);
	atomic_store(&run->admin->paused, false);
	return true;
}

static bool run_reload(const struct command_run *run, struct problem *p)
{
	return admin_reload(run->admin, p);
}

static bool run_shutdown(const struct command_run *run, struct problem *p)
{
	admin_stop(run->admin);
	return true;
}

static bool run_nothing(const struct command_run *run, struct problem *p)
{
	return true;
}

/* -- the table -- */

#define COLUMNS(...) \
	(const char *const[]) \
	{ \
		__VA_ARGS__, NULL \
	}

/* clang-format off */
const struct command_def command_table[] = {
	{"SHOW HELP", "this list",
	 "SHOW", COLUMNS("command", "what it does"),
	 VIEW_COUNT, KEEP, run_help},
	{"SHOW MIGRATIONS", "every migration with its phase",
	 "SHOW", NULL, VIEW_MIGRATIONS, KEEP, run_view},
	{"SHOW MIGRATION m", "everything about one, and who uses the old model",
	 "SHOW", NULL, VIEW_MIGRATION, KEEP, run_view},
	{"SHOW PREFLIGHT m", "what in the database stands in the way",
	 "SHOW", NULL, VIEW_PREFLIGHT, KEEP, run_view},
	{"SHOW BACKFILL m", "how far the walk over the rows is",
	 "SHOW", NULL, VIEW_BACKFILL, KEEP, run_view},
	{"SHOW BARRIER m", "which transactions a move waits for",
	 "SHOW", NULL, VIEW_BARRIER, KEEP, run_view},
	{"SHOW FINDINGS m", "rows in which the two models differ",
	 "SHOW", NULL, VIEW_FINDINGS, KEEP, run_view},
	{"SHOW EVENTS m", "who moved it, when, and why",
	 "SHOW", NULL, VIEW_EVENTS, KEEP, run_view},
	{"SHOW DDL m", "the DDL that each move runs",
	 "SHOW", NULL, VIEW_DDL, KEEP, run_view},
	{"SHOW CLIENTS", "the connections through pgtandem",
	 "SHOW", COLUMNS("id", "worker", "user", "database", "application",
			 "address", "state", "transaction", "backend_pid",
			 "client_tls", "server_tls", "snapshot",
			 "connected_at", "statements"),
	 VIEW_COUNT, KEEP, run_clients},
	{"SHOW STATS", "counters, the same as on /metrics",
	 "SHOW", COLUMNS("name", "value", "what"),
	 VIEW_COUNT, KEEP, run_stats},
	{"SHOW CONFIG", "the settings in force",
	 "SHOW", COLUMNS("name", "value", "what"),
	 VIEW_COUNT, KEEP, run_config},
	{"SHOW VERSION", "the version that runs",
	 "SHOW", COLUMNS("version"), VIEW_COUNT, KEEP, run_version},
	{"EXPLAIN REWRITE m [IN phase] 'SQL'",
	 "what a statement is sent as, now or in another phase",
	 "EXPLAIN", COLUMNS("rewrite"), VIEW_COUNT, KEEP, run_explain},
	{"ADVANCE m [TO phase] [FORCE [m]]",
	 "move forward, one phase or up to one; FORCE skips only what cannot "
	 "harm data, and into contracted wants the name again",
	 "ADVANCE", NULL, VIEW_COUNT, KEEP, run_advance},
	{"ROLLBACK m", "move one phase back",
	 "ROLLBACK", NULL, VIEW_COUNT, KEEP, run_rollback},
	{"BACKFILL m [START|PAUSE|RESUME]",
	 "start, halt or go on with the walk over the rows (START if left out)",
	 "BACKFILL", NULL, VIEW_COUNT, KEEP, run_backfill},
	{"SET m.rate = n", "limit the walk to n rows a second (0: no limit)",
	 "SET", NULL, VIEW_COUNT, KEEP, run_set_rate},
	{"SET m.read_percent = n",
	 "in read_new, the share of sessions that read the new model",
	 "SET", NULL, VIEW_COUNT, KEEP, run_set_percent},
	{"VERIFY m", "compare both models, row by row",
	 "VERIFY", COLUMNS("compared", "missing", "extra", "different",
			   "lossy"),
	 VIEW_COUNT, KEEP, run_verify},
	{"REPAIR m", "make equal what the last VERIFY found different",
	 "REPAIR", COLUMNS("repaired"), VIEW_COUNT, KEEP, run_repair},
	{"PAUSE", "hold every new transaction",
	 "PAUSE", NULL, VIEW_COUNT, KEEP, run_pause},
	{"RESUME", "let the held transactions go",
	 "RESUME", NULL, VIEW_COUNT, KEEP, run_resume},
	{"RELOAD", "read the configuration file again",
	 "RELOAD", NULL, VIEW_COUNT, KEEP, run_reload},
	{"SHUTDOWN", "let running transactions end, then stop",
	 "SHUTDOWN", NULL, VIEW_COUNT, KEEP, run_shutdown},
	{"BEGIN", "for drivers only: commands take effect at once, always",
	 "BEGIN", NULL, VIEW_COUNT, BEGIN_TX, run_nothing},
	{"COMMIT", "for drivers only: ends what BEGIN began",
	 "COMMIT", NULL, VIEW_COUNT, END_TX, run_nothing},
	{"ROLLBACK", "for drivers only: ends what BEGIN began, undoes nothing",
	 "ROLLBACK", NULL, VIEW_COUNT, END_TX, run_nothing},
	{"DEALLOCATE ALL", "for drivers only: forgets prepared statements",
	 "DEALLOCATE ALL", NULL, VIEW_COUNT, FORGET_PREPARED, run_nothing},
};
/* clang-format on */

const size_t command_count = sizeof(command_table) / sizeof(command_table[0]);
