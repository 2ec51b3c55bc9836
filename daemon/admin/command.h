/*
 * The console's commands: one table, and the parser that reads it.
 *
 * Each row holds a command's grammar, its help line, its result columns and
 * its handler.  The parser walks the grammar texts themselves, SHOW HELP
 * prints them, and so does `pgtandem --help`: a command that is not in the
 * table does not exist.  Must never know of connections or messages.
 *
 * Grammar texts: words are keywords, in any case; `m` is a migration's name,
 * `phase` a phase's, `n` a whole number, `'SQL'` a quoted statement;
 * [A|B] may be left out.
 */
#ifndef DAEMON_ADMIN_COMMAND_H
#define DAEMON_ADMIN_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "config/arena.h"
#include "config/phase.h"
#include "config/problem.h"
#include "daemon/admin/admin.h"

enum {
	COMMAND_MAX_STATEMENTS = 1000, /* in one text */
	COMMAND_MAX_SQL = 1 << 20,     /* bytes of one text */
};

/* Optional keywords that a handler asks for, as bits. */
enum command_word {
	WORD_FORCE = 1 << 0,
	WORD_START = 1 << 1,
	WORD_PAUSE = 1 << 2,
	WORD_RESUME = 1 << 3,
};

/* What a command changes in the connection that it came by: drivers think in
 * transactions and prepared statements. */
enum command_effect { KEEP, BEGIN_TX, END_TX, FORGET_PREPARED };

struct command_def;

struct command {
	const struct command_def *def;
	const char *migration; /* NULL if the command has none */
	const char *again;     /* the name typed a second time, or NULL */
	enum phase phase;      /* PHASE_COUNT if none was named */
	const char *number;
	const char *sql;
	unsigned words;	  /* enum command_word */
	size_t position;  /* of its first word, in characters from 1 */
	const char *text; /* as written, for the log */
};

/* Where a running command's results go. */
struct command_run {
	const struct command *command;
	struct admin *admin;
	const char *user; /* who asked */
	const struct progress *progress;
	control_row_fn row; /* one row, in the definition's columns */
	void *row_arg;
};

typedef bool (*command_fn)(const struct command_run *run, struct problem *p);

struct command_def {
	const char *grammar;
	const char *help;
	const char *tag;	    /* of CommandComplete */
	const char *const *columns; /* NULL-terminated; NULL: see view */
	enum control_view view;	    /* VIEW_COUNT: no view */
	enum command_effect effect;
	command_fn run;
};

extern const struct command_def command_table[];
extern const size_t command_count;

/*
 * Parses a text of commands separated by semicolons, all of it before any of
 * it is run.  The result lives in `a`.  A mistake is 42601 with the position
 * of the word, what was expected there, and the nearest command.
 */
bool command_parse(const char *text, size_t len, struct arena *a,
		   const struct command **ret, size_t *ret_n, struct problem *p)
    __attribute__((warn_unused_result));

/* The result columns; NULL and 0 for a command without rows. */
const char *const *command_columns(const struct command_def *d, size_t *ret_n);

#endif
