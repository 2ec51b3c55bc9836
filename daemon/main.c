/*
 * The command line.  Exit codes: 0 done, 1 failed, 2 asked wrongly.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/admin/command.h"
#include "daemon/offline.h"
#include "daemon/serve.h"

enum { EXIT_USAGE = 2 };

struct line { /* what the user typed */
	const char *config, *migration, *phase_name, *sql;
	enum phase phase; /* of that name, or PHASE_COUNT */
};

static bool run_serve(const struct line *l)
{
	return serve(l->config);
}

static bool run_check(const struct line *l)
{
	return offline_check(l->config);
}

static bool run_rewrite(const struct line *l)
{
	return offline_rewrite(l->config, l->migration, l->phase, l->sql);
}

/* clang-format off */
static const struct subcommand {
	const char *name, *usage, *what;
	bool wants_migration, wants_sql;
	bool (*run)(const struct line *l);
} subcommands[] = {
	{"serve",   "serve -c FILE", "run the proxy",
	 false, false, run_serve},
	{"check",   "check -c FILE",
	 "check the configuration and the migrations, print the settings in "
	 "force\n      and the DDL of every move",
	 false, false, run_check},
	{"rewrite", "rewrite -c FILE -m MIGRATION [-p PHASE] 'SQL'",
	 "print what a statement is sent as (in the current phase, if none is "
	 "given)",
	 true, true, run_rewrite},
};

static const struct option options[] = {
	{"config",    required_argument, NULL, 'c'},
	{"migration", required_argument, NULL, 'm'},
	{"phase",     required_argument, NULL, 'p'},
	{"help",      no_argument,       NULL, 'h'},
	{"version",   no_argument,       NULL, 'V'},
	{NULL, 0, NULL, 0},
};
/* clang-format on */

#define N_SUBCOMMANDS (sizeof(subcommands) / sizeof(subcommands[0]))

static void print_help(void)
{
	printf("pgtandem %s: changes a PostgreSQL data model while the "
	       "applications go on\n\n",
	       PGTANDEM_VERSION);
	for (size_t i = 0; i < N_SUBCOMMANDS; i++)
		printf("  pgtandem %s\n      %s\n", subcommands[i].usage,
		       subcommands[i].what);
	printf("  pgtandem --version | --help\n\n"
	       "Commands of the console (psql on the admin port):\n\n");
	for (size_t i = 0; i < command_count; i++)
		printf("  %s\n      %s\n", command_table[i].grammar,
		       command_table[i].help);
}

static int wrong_usage(const char *what, const char *name)
{
	fprintf(stderr, "pgtandem: %s%s\nTry \"pgtandem --help\".\n", what,
		name);
	return EXIT_USAGE;
}

/* Options may stand before and behind the subcommand's name. */
static int read_line(int argc, char **argv, struct line *l)
{
	int c;

	while ((c = getopt_long(argc, argv, "c:m:p:hV", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			l->config = optarg;
			break;
		case 'm':
			l->migration = optarg;
			break;
		case 'p':
			l->phase_name = optarg;
			break;
		case 'h':
			print_help();
			exit(EXIT_SUCCESS);
		case 'V':
			printf("pgtandem %s\n", PGTANDEM_VERSION);
			exit(EXIT_SUCCESS);
		default:
			fprintf(stderr, "Try \"pgtandem --help\".\n");
			return EXIT_USAGE;
		}
	}
	return EXIT_SUCCESS;
}

static int run_subcommand(const struct subcommand *s, struct line *l,
			  char **rest)
{
	if (!l->config)
		return wrong_usage("-c FILE is missing for ", s->name);
	if (s->wants_migration && !l->migration)
		return wrong_usage("-m MIGRATION is missing for ", s->name);
	if (!s->wants_migration && (l->migration || l->phase_name))
		return wrong_usage("-m and -p do not belong to ", s->name);
	if (l->phase_name &&
	    !phase_from_name(l->phase_name, strlen(l->phase_name), &l->phase))
		return wrong_usage("not a phase: ", l->phase_name);
	if (s->wants_sql) {
		if (!*rest)
			return wrong_usage("the statement is missing for ",
					   s->name);
		l->sql = *rest++;
	}
	if (*rest)
		return wrong_usage("unexpected argument: ", *rest);
	return s->run(l) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct line l = {.phase = PHASE_COUNT};
	int code = read_line(argc, argv, &l);

	if (code != EXIT_SUCCESS)
		return code;
	if (optind == argc)
		return wrong_usage("a subcommand is missing", "");
	for (size_t i = 0; i < N_SUBCOMMANDS; i++)
		if (strcmp(argv[optind], subcommands[i].name) == 0)
			return run_subcommand(&subcommands[i], &l,
					      argv + optind + 1);
	return wrong_usage("unknown subcommand: ", argv[optind]);
}
