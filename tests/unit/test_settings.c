#include "config/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define LISTEN "listen: [{port: 6432}]\n"
#define SETTINGS_KEYS \
	"listen, server, admin, control, workers, lease, login_timeout, " \
	"drain_timeout, hold_timeout, barrier_timeout, walk, " \
	"max_statement_bytes, " \
	"statement_cache, tcp_keepalive, log, migrations"
#define SECRET \
	"SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$" \
	"MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=:" \
	"MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="

/* clang-format off */
static const struct {
	const char *text;
	const char *message;	/* behind "pgtandem.yaml:" */
} bad[] = {
	{ "",
	  "1: empty; expected a mapping" },
	{ "# only a comment\n",
	  "1: empty; expected a mapping" },
	{ "- a\n",
	  "1: is a list; expected a mapping with keys "
	  SETTINGS_KEYS },
	{ "text\n",
	  "1: is \"text\"; expected a mapping with keys "
	  SETTINGS_KEYS },
	{ "listen: []\n",
	  "1: listen: is an empty list; expected a list with at least one "
	  "entry" },
	{ "listen: {port: 1}\n",
	  "1: listen: is a mapping; expected a list with at least one entry" },
	{ "listen:\n",
	  "1: listen: is empty; expected a list with at least one entry" },
	{ "server: {}\n",
	  "1: key \"listen\" is missing; expected a list with at least "
	  "one entry" },
	{ "listen:\n"
	  "  - {address: 127.0.0.1}\n",
	  "2: listen[0]: key \"port\" is missing; expected a number from "
	  "1 to 65535" },
	{ "listen: [{port: 0}]\n",
	  "1: listen[0].port: \"0\" is not a number from 1 to 65535" },
	{ "listen: [{port: 70000}]\n",
	  "1: listen[0].port: \"70000\" is not a number from 1 to 65535" },
	{ "listen: [{port: six}]\n",
	  "1: listen[0].port: \"six\" is not a number from 1 to 65535" },
	{ "listen: [{port: -1}]\n",
	  "1: listen[0].port: \"-1\" is not a number from 1 to 65535" },
	{ "listen: [{port: 99999999999999999999999}]\n",
	  "1: listen[0].port: \"99999999999999999999999\" is not a number "
	  "from 1 to 65535" },
	{ "listen: [{port: [1]}]\n",
	  "1: listen[0].port: is a list; expected a number from 1 to 65535" },
	{ "listen: [{port: 1, adress: 127.0.0.1}]\n",
	  "1: listen[0].adress: unknown key; known here: address, socket, "
	  "port, tls" },
	{ "listen: [{port: 1, address: localhost}]\n",
	  "1: listen[0].address: \"localhost\" is not a numeric address, "
	  "such as 127.0.0.1 or \"::1\"" },
	{ "listen: [{port: 1, address: 127.0.0.1, socket: /tmp}]\n",
	  "1: listen[0]: address and socket are both given; expected one "
	  "of them" },
	{ "listen: [{port: 1, socket: "
	  "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx}]\n",
	  "1: listen[0].socket: "
	  "\"/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xx...\" is longer than 90 bytes, too long for a unix socket" },
	{ "listen:\n"
	  "  - port: 6432\n"
	  "    tls:\n"
	  "      mode: alow\n",
	  "4: listen[0].tls.mode: \"alow\" is not one of off, allow, "
	  "require" },
	{ "listen: [{port: 1, tls: {mode: allow}}]\n",
	  "1: listen[0].tls: mode allow needs cert and key; cert is missing" },
	{ "listen: [{port: 1, tls: {mode: require, cert: c.pem}}]\n",
	  "1: listen[0].tls: mode require needs cert and key; key is "
	  "missing" },
	{ "listen: [{port: 1, tls: {mode: require, cert: nope.pem, key: "
	  "k.pem}}]\n",
	  "1: listen[0].tls.cert: \"nope.pem\" cannot be read: No such "
	  "file or directory" },
	{ "listen: [{port: 1, tls: off}]\n",
	  "1: listen[0].tls: is \"off\"; expected a mapping with keys "
	  "mode, cert, key, client_ca" },
	{ "listen: [{port: 1, socket: /tmp, tls: {mode: allow, cert: "
	  "c.pem, key: k.pem}}]\n",
	  "1: listen[0].tls: mode allow on a unix socket; expected off" },
	{ "listen: [{port: 1}, {port: 1}]\n",
	  "1: listen[1]: the same address and port as listen[0]" },
	{ LISTEN
	  "listen: [{port: 2}]\n",
	  "2: duplicate key \"listen\" (first in line 1)" },
	{ LISTEN
	  "admin: {address: 127.0.0.1, port: 6432}\n",
	  "1: listen[0]: the same address and port as admin" },
	{ LISTEN
	  "admin: {socket: /tmp}\n",
	  "2: admin.socket: needs port; it is part of the socket's name" },
	{ LISTEN
	  "admin: {port: 1, users: [ops]}\n",
	  "2: admin.users: is a list; expected a mapping of user names to "
	  "SCRAM-SHA-256 secrets" },
	{ LISTEN
	  "admin: {port: 1, users: {ops: secret}}\n",
	  "2: admin.users.ops: is not a SCRAM secret; expected "
	  "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, as "
	  "in pg_authid.rolpassword" },
	{ LISTEN
	  "admin: {port: 1, users: {ops: "
	  "'SCRAM-SHA-256$4096:c2FsdA==$short=:short='}}\n",
	  "2: admin.users.ops: is not a SCRAM secret; expected "
	  "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, as "
	  "in pg_authid.rolpassword" },
	{ LISTEN
	  "server: {port: 99999}\n",
	  "2: server.port: \"99999\" is not a number from 1 to 65535" },
	{ LISTEN
	  "server: {tls: {mode: verify-full}}\n",
	  "2: server.tls: mode verify-full needs root_cert" },
	{ LISTEN
	  "server: {tls: {mode: on}}\n",
	  "2: server.tls.mode: \"on\" is not one of disable, allow, "
	  "prefer, require, verify-ca, verify-full" },
	{ LISTEN
	  "server: {tls: {cert: c.pem}}\n",
	  "2: server.tls: cert and key are given together or not at all; "
	  "key is missing" },
	{ LISTEN
	  "server: [a]\n",
	  "2: server: is a list; expected a mapping with keys host, port, "
	  "connect_timeout, tls" },
	{ LISTEN
	  "control: \"user=x host=y\"\n",
	  "2: control: must not contain host; it comes from server.host" },
	{ LISTEN
	  "control: \"hostaddr = 1.2.3.4\"\n",
	  "2: control: must not contain hostaddr; it comes from server.host" },
	{ LISTEN
	  "control: \"port=1\"\n",
	  "2: control: must not contain port; it comes from server.port" },
	{ LISTEN
	  "control: \"user\"\n",
	  "2: control: is not a libpq connection string; expected "
	  "key=value pairs" },
	{ LISTEN
	  "control: \"user='x\"\n",
	  "2: control: has a quote (') that is not closed" },
	{ LISTEN
	  "control: postgresql://x@y/z\n",
	  "2: control: is a URI; expected key=value pairs, such as "
	  "user=pgtandem" },
	{ LISTEN
	  "control: \"dbname=x\"\n",
	  "2: control: must not contain dbname; it comes from each "
	  "migration's database" },
	{ LISTEN
	  "control: [a]\n",
	  "2: control: is a list; expected key=value pairs, such as "
	  "user=pgtandem" },
	{ LISTEN
	  "lease: 5\n",
	  "2: lease: \"5\" is not a duration from 500ms to 10m (a whole "
	  "number of ms, s, m, h or d)" },
	{ LISTEN
	  "lease: 5 s\n",
	  "2: lease: \"5 s\" is not a duration from 500ms to 10m (a whole "
	  "number of ms, s, m, h or d)" },
	{ LISTEN
	  "lease: 1ms\n",
	  "2: lease: \"1ms\" is not a duration from 500ms to 10m (a whole "
	  "number of ms, s, m, h or d)" },
	{ LISTEN
	  "lease: 99999999999999999999d\n",
	  "2: lease: \"99999999999999999999d\" is not a duration from "
	  "500ms to 10m (a whole number of ms, s, m, h or d)" },
	{ LISTEN
	  "lease: 213503982335d\n",
	  "2: lease: \"213503982335d\" is not a duration from 500ms to "
	  "10m (a whole number of ms, s, m, h or d)" },
	{ LISTEN
	  "lease: -5s\n",
	  "2: lease: \"-5s\" is not a duration from 500ms to 10m (a whole "
	  "number of ms, s, m, h or d)" },
	{ LISTEN
	  "tcp_keepalive: 1500ms\n",
	  "2: tcp_keepalive: \"1500ms\" is not a duration from 1s to "
	  "32767s (a whole number of s, m, h or d)" },
	{ LISTEN
	  "workers: many\n",
	  "2: workers: \"many\" is not a number from 0 to 1024" },
	{ LISTEN
	  "workers: ~x\n",
	  "2: workers: \"~x\" is not a number from 0 to 1024" },
	{ LISTEN
	  "log: {level: verbose}\n",
	  "2: log.level: \"verbose\" is not one of error, warn, info, debug" },
	{ LISTEN
	  "log: {level: info, levle: info}\n",
	  "2: log.levle: unknown key; known here: level, format" },
	{ LISTEN
	  "lese: 5s\n",
	  "2: lese: unknown key; known here: "
	  SETTINGS_KEYS },
	{ LISTEN
	  "lease:\n",
	  "2: lease: is empty; expected a duration from 500ms to 10m (a "
	  "whole number of ms, s, m, h or d)" },
	{ LISTEN
	  "? [a]\n"
	  ": b\n",
	  "2: a list or mapping as a key; expected text" },
	{ LISTEN
	  "\tlease: 5s\n",
	  "2: indented with a tab; expected spaces" },
	{ LISTEN
	  "log:\n"
	  "\tlevel: info\n",
	  "3: indented with a tab; expected spaces" },
	{ LISTEN
	  "log: {level: info\n",
	  "3: not YAML: did not find expected ',' or '}', while parsing a "
	  "flow mapping that starts in line 2" },
	{ LISTEN
	  "log: [\n",
	  "3: not YAML: did not find expected node content in column 1" },
	{ LISTEN
	  "control: \"user\n",
	  "3: not YAML: found unexpected end of stream, while scanning a "
	  "quoted scalar that starts in line 2" },
	{ LISTEN
	  "lease: &x 5s\n",
	  "2: anchors and aliases (& and *) are not supported; quote text "
	  "that starts with them" },
	{ LISTEN
	  "lease: *x\n",
	  "2: anchors and aliases (& and *) are not supported; quote text "
	  "that starts with them" },
	{ LISTEN
	  "lease: !!str 5s\n",
	  "2: tags (\"tag:yaml.org,2002:str\") are not supported" },
	{ LISTEN
	  "lease: 5s\n"
	  "---\n"
	  "lease: 5s\n",
	  "3: a second document (\"---\"); expected one" },
	{ LISTEN
	  "lease: 5s\n"
	  "lease: 6s\n",
	  "3: duplicate key \"lease\" (first in line 2)" },
	{ LISTEN
	  "a: b: c\n",
	  "2: not YAML: mapping values are not allowed in this context in "
	  "column 5" },
	{ LISTEN
	  "control: \"a\\0b\"\n",
	  "2: text with a NUL character" },
	{ LISTEN
	  "control: \200\377\n",
	  "2: invalid leading UTF-8 octet; expected UTF-8 text" },
	{ LISTEN
	  "control: a\001b\n",
	  "2: control characters are not allowed; expected UTF-8 text" },
	{ LISTEN
	  "<<: {a: b}\n",
	  "2: <<: unknown key; known here: "
	  SETTINGS_KEYS },
	{ LISTEN
	  "%YAML 9.9\n",
	  "2: not YAML: found incompatible YAML document in column 1" },
	{ LISTEN
	  "@x: 1\n",
	  "2: not YAML: found character that cannot start any token in "
	  "column 1" },
	{ LISTEN
	  "lease: `5s`\n",
	  "2: not YAML: found character that cannot start any token in "
	  "column 8" },
	{ LISTEN
	  "log: {level: "
	  "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}\n",
	  "2: log.level: "
	  "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xx...\" is not one of error, warn, info, debug" },
	{ LISTEN
	  "llllllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
	  "llllllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
	  "llllllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
	  "llllllllllllllllllll: 1\n",
	  "2: lllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
	  "llllllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
	  "llllllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
	  "lllllllllllllllllllllll: unknown key; known here: "
	  SETTINGS_KEYS },
};
/* clang-format on */

/* The tests run in a folder of their own that has c.pem and k.pem. */

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

static int enter_folder(void **state)
{
	static char folder[] = "/tmp/test_settings.XXXXXX";

	if (mkdtemp(folder) == NULL || chdir(folder) != 0)
		return -1;
	write_file("c.pem", "certificate");
	write_file("k.pem", "key");
	*state = folder;
	return 0;
}

static int leave_folder(void **state)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -rf '%s'", (char *)*state);
	return system(command);
}

static struct settings *read_good(const char *text)
{
	struct settings *s = NULL;
	struct problem p = {0};

	write_file("pgtandem.yaml", text);
	if (!settings_read("pgtandem.yaml", &s, &p))
		fail_msg("%s", p.message);
	return s;
}

static void check_bad(const char *text, const char *message)
{
	struct settings *s = NULL;
	struct problem p = {0};

	write_file("pgtandem.yaml", text);
	assert_false(settings_read("pgtandem.yaml", &s, &p));
	assert_null(s);
	assert_string_equal(p.message, message);
}

static void
every_mistake_is_told_with_line_key_and_what_was_expected(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char message[600];

		snprintf(message, sizeof(message), "pgtandem.yaml:%s",
			 bad[i].message);
		check_bad(bad[i].text, message);
	}
}

static void what_is_not_given_has_its_default(void **state)
{
	struct settings *s = read_good(LISTEN);

	assert_int_equal(s->n_listen, 1);
	assert_string_equal(s->listen[0].address, "127.0.0.1");
	assert_null(s->listen[0].socket);
	assert_int_equal(s->listen[0].port, 6432);
	assert_int_equal(s->listen[0].tls.mode, CLIENT_TLS_OFF);
	assert_string_equal(s->server.host, "127.0.0.1");
	assert_int_equal(s->server.port, 5432);
	assert_int_equal(s->server.tls_mode, SERVER_TLS_PREFER);
	assert_int_equal(s->server.connect_timeout_ms, 10000);
	assert_string_equal(s->admin.address, "127.0.0.1");
	assert_int_equal(s->admin.port, 0);
	assert_null(s->admin.socket);
	assert_int_equal(s->admin.n_users, 0);
	assert_string_equal(s->control, "");
	assert_int_equal(s->workers, 0);
	assert_int_equal(s->lease_ms, 5000);
	assert_int_equal(s->login_timeout_ms, 60000);
	assert_int_equal(s->drain_timeout_ms, 30000);
	assert_int_equal(s->hold_timeout_ms, 10000);
	assert_int_equal(s->barrier_timeout_ms, 60000);
	assert_int_equal(s->walk.latency_percent, 300);
	assert_int_equal(s->max_statement_bytes, 4 << 20);
	assert_int_equal(s->statement_cache, 4096);
	assert_int_equal(s->tcp_keepalive_s, 60);
	assert_int_equal(s->log_level, LOG_INFO);
	assert_int_equal(s->log_format, LOG_TEXT);
	assert_null(s->migrations);
	assert_int_equal(s->n_specs, 0);
	assert_int_equal(s->n_notes, 0);
	settings_unref(s);
}

static void what_is_given_is_read(void **state)
{
	struct settings *s = read_good(
	    "listen:\n"
	    "  - {address: '::1', port: 65535, tls: {mode: require, "
	    "cert: c.pem, key: k.pem, client_ca: c.pem}}\n"
	    "  - {socket: /run/x, port: 1}\n"
	    "server: {host: db, port: 1, connect_timeout: 500ms,\n"
	    "  tls: {mode: verify-full, root_cert: c.pem, cert: c.pem, "
	    "key: k.pem}}\n"
	    "admin: {address: 0.0.0.0, port: 2, socket: /run/y,\n"
	    "  users: {ops: '" SECRET "'}}\n"
	    "control: user=x password='a b'\nworkers: 3\nlease: 2s\n"
	    "login_timeout: 1m\ndrain_timeout: 2h\nhold_timeout: 1s\n"
	    "barrier_timeout: 1d\nwalk: {latency_percent: 150}\n"
	    "max_statement_bytes: 1024\n"
	    "statement_cache: 16\ntcp_keepalive: 2m\n"
	    "log: {level: debug, format: json}\n");

	assert_int_equal(s->n_listen, 2);
	assert_string_equal(s->listen[0].address, "::1");
	assert_int_equal(s->listen[0].port, 65535);
	assert_int_equal(s->listen[0].tls.mode, CLIENT_TLS_REQUIRE);
	assert_string_equal(s->listen[0].tls.cert, "c.pem");
	assert_string_equal(s->listen[0].tls.key, "k.pem");
	assert_string_equal(s->listen[0].tls.client_ca, "c.pem");
	assert_string_equal(s->listen[1].socket, "/run/x");
	assert_null(s->listen[1].address);
	assert_string_equal(s->server.host, "db");
	assert_int_equal(s->server.connect_timeout_ms, 500);
	assert_int_equal(s->server.tls_mode, SERVER_TLS_VERIFY_FULL);
	assert_string_equal(s->server.key, "k.pem");
	assert_int_equal(s->admin.port, 2);
	assert_string_equal(s->admin.socket, "/run/y");
	assert_int_equal(s->admin.n_users, 1);
	assert_string_equal(s->admin.users[0].name, "ops");
	assert_string_equal(s->admin.users[0].secret, SECRET);
	assert_string_equal(s->control, "user=x password='a b'");
	assert_int_equal(s->workers, 3);
	assert_int_equal(s->drain_timeout_ms, 7200000);
	assert_int_equal(s->barrier_timeout_ms, 86400000);
	assert_int_equal(s->walk.latency_percent, 150);
	assert_int_equal(s->tcp_keepalive_s, 120);
	assert_int_equal(s->log_level, LOG_DEBUG);
	assert_int_equal(s->log_format, LOG_JSON);
	settings_unref(s);
}

static void paths_count_from_the_files_folder(void **state)
{
	struct settings *s = NULL;
	struct problem p = {0};

	assert_int_equal(mkdir("[odd]*", 0700), 0);
	write_file("[odd]*/c.pem", "");
	write_file("[odd]*/m.yaml", "migration: m\ndatabase: d\nlenses:\n"
				    "  - {kind: table, old: a, new: b, "
				    "key: id}\n");
	write_file("[odd]*/p.yaml", LISTEN "server: {tls: {root_cert: "
					   "c.pem}}\nmigrations: m*.yaml\n");
	if (!settings_read("[odd]*/p.yaml", &s, &p))
		fail_msg("%s", p.message);
	assert_string_equal(s->server.root_cert, "[odd]*/c.pem");
	assert_int_equal(s->n_specs, 1);
	assert_string_equal(s->specs[0]->file, "[odd]*/m.yaml");
	settings_unref(s);
}

static void a_pattern_without_a_match_is_a_note(void **state)
{
	static const char *const patterns[] = {"none*.yaml", "none/*.yaml"};

	for (size_t i = 0; i < 2; i++) {
		char text[200];
		struct settings *s;

		snprintf(text, sizeof(text), LISTEN "migrations: \"%s\"\n",
			 patterns[i]);
		s = read_good(text);
		snprintf(text, sizeof(text),
			 "pgtandem.yaml:2: migrations: "
			 "no file matches \"%s\"",
			 patterns[i]);
		assert_int_equal(s->n_specs, 0);
		assert_int_equal(s->n_notes, 1);
		assert_string_equal(s->notes[0], text);
		settings_unref(s);
	}
}

static void a_console_that_nobody_can_use_is_a_note(void **state)
{
	struct settings *s = read_good(LISTEN "admin: {port: 6433}\n");

	assert_int_equal(s->n_notes, 1);
	assert_string_equal(s->notes[0],
			    "pgtandem.yaml: admin: neither users nor socket is "
			    "given; nobody can use the console");
	settings_unref(s);
}

static void write_migration(const char *file, const char *name)
{
	char text[300];

	snprintf(text, sizeof(text),
		 "# a comment\nmigration: %s\n"
		 "database: d\nlenses:\n"
		 "  - {kind: table, old: a, new: b, key: id}\n",
		 name);
	write_file(file, text);
}

static void two_files_with_one_name_are_refused(void **state)
{
	assert_int_equal(mkdir("two", 0700), 0);
	write_migration("two/a.yaml", "same");
	write_migration("two/b.yaml", "same");
	check_bad(LISTEN "migrations: two/*.yaml\n",
		  "two/b.yaml:2: migration: \"same\" is also the name in "
		  "two/a.yaml:2");
	write_migration("two/b.yaml", "other");
	settings_unref(read_good(LISTEN "migrations: two/*.yaml\n"));
}

static void a_bad_migration_file_names_itself(void **state)
{
	write_file("bad.yaml", "migration: m\ndatbase: d\n");
	check_bad(LISTEN "migrations: bad.yaml\n",
		  "bad.yaml:2: datbase: unknown key; known here: migration, "
		  "database, lossy, guard, old_use, on_violation, ddl, "
		  "triggers, husk, quiet_for, leave_out, expand, relax, "
		  "contract, lenses");
}

static void more_migrations_than_a_snapshot_holds_are_refused(void **state)
{
	assert_int_equal(mkdir("many", 0700), 0);
	for (int i = 0; i < 65; i++) {
		char file[40], name[20];

		snprintf(file, sizeof(file), "many/%02d.yaml", i);
		snprintf(name, sizeof(name), "m%d", i);
		write_migration(file, name);
	}
	check_bad(LISTEN "migrations: many/*.yaml\n",
		  "many/64.yaml:2: database: more than 64 migrations of "
		  "database \"d\"");
}

static void a_file_that_cannot_be_read_says_why(void **state)
{
	struct settings *s = NULL;
	struct problem p = {0};

	assert_false(settings_read("absent.yaml", &s, &p));
	assert_string_equal(p.message, "absent.yaml: cannot be opened: No such "
				       "file or directory");
	assert_false(settings_read(".", &s, &p));
	assert_string_equal(p.message, ".: cannot be read: Is a directory");
	assert_null(s);
}

static void a_huge_file_is_refused(void **state)
{
	FILE *f = fopen("huge.yaml", "w");
	struct settings *s = NULL;
	struct problem p = {0};

	assert_non_null(f);
	assert_int_equal(ftruncate(fileno(f), 1L << 32), 0);
	fclose(f);
	assert_false(settings_read("huge.yaml", &s, &p));
	assert_string_equal(p.message, "huge.yaml: larger than 1 MiB, the most "
				       "that is read");
}

static void a_syntax_error_has_a_hint(void **state)
{
	struct settings *s = NULL;
	struct problem p = {0};

	write_file("pgtandem.yaml", LISTEN "control: a: b\n");
	assert_false(settings_read("pgtandem.yaml", &s, &p));
	assert_string_equal(p.hint,
			    "A value needs quotes if it has \": \" or \" #\" "
			    "in it, or starts with one of []{}&*!|>'\"%@`.");
}

static void the_last_reference_frees(void **state)
{
	struct settings *s = read_good(LISTEN);

	assert_ptr_equal(settings_ref(s), s);
	settings_unref(s);
	assert_int_equal(s->n_listen, 1);
	settings_unref(s);
	settings_unref(NULL);
}

static const char *find_value(const struct setting_value *rows, size_t n,
			      const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(rows[i].name, name) == 0)
			return rows[i].value;
	}
	return NULL;
}

static void the_list_shows_values_and_hides_secrets(void **state)
{
	struct settings *s = read_good(
	    LISTEN "admin: {port: 1, users: {ops: '" SECRET "'}}\n"
		   "control: user=x password = 'a b' application_name=y\n"
		   "lease: 90s\nlog: {level: warn}\n");
	static const struct {
		const char *name, *value;
	} want[] = {
	    {"listen[0].port", "6432"},
	    {"listen[0].tls.mode", "off"},
	    {"server.tls.mode", "prefer"},
	    {"admin.users.ops", "***"},
	    {"control", "user=x password=*** application_name=y"},
	    {"lease", "90s"},
	    {"drain_timeout", "30s"},
	    {"tcp_keepalive", "1m"},
	    {"log.level", "warn"},
	    {"migrations", ""},
	};
	const struct setting_value *rows;
	struct arena a;
	size_t n;

	arena_init(&a);
	n = settings_list(s, &a, &rows);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		const char *value = find_value(rows, n, want[i].name);

		assert_non_null(value);
		assert_string_equal(value, want[i].value);
	}
	arena_free(&a);
	settings_unref(s);
}

static void every_key_is_described(void **state)
{
	const struct setting_value *rows;
	struct arena a;
	size_t n;

	arena_init(&a);
	n = settings_describe(&a, &rows);
	for (size_t i = 0; i < n; i++)
		assert_true(rows[i].name[0] && rows[i].value[0] &&
			    rows[i].what[0]);
	assert_string_equal(find_value(rows, n, "listen[].port"),
			    "a number from 1 to 65535; required");
	assert_string_equal(find_value(rows, n, "listen[].tls.mode"),
			    "one of off, allow, require; default off");
	assert_true(settings_describe_spec(&a, &rows) > 40);
	arena_free(&a);
}

static void the_sample_configuration_is_valid(void **state)
{
	static const char file[] = SAMPLE_FOLDER "/pgtandem.yaml";
	struct settings *s = NULL;
	struct problem p = {0};

	if (!settings_read(file, &s, &p))
		fail_msg("%s", p.message);
	assert_int_equal(s->n_notes, 0);
	assert_int_equal(s->n_specs, 1);
	assert_string_equal(s->specs[0]->name, "inovices_typo");
	assert_int_equal(s->specs[0]->lenses[0].n_columns, 2);
	settings_unref(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		every_mistake_is_told_with_line_key_and_what_was_expected),
	    cmocka_unit_test(what_is_not_given_has_its_default),
	    cmocka_unit_test(what_is_given_is_read),
	    cmocka_unit_test(paths_count_from_the_files_folder),
	    cmocka_unit_test(a_pattern_without_a_match_is_a_note),
	    cmocka_unit_test(a_console_that_nobody_can_use_is_a_note),
	    cmocka_unit_test(two_files_with_one_name_are_refused),
	    cmocka_unit_test(a_bad_migration_file_names_itself),
	    cmocka_unit_test(more_migrations_than_a_snapshot_holds_are_refused),
	    cmocka_unit_test(a_file_that_cannot_be_read_says_why),
	    cmocka_unit_test(a_huge_file_is_refused),
	    cmocka_unit_test(a_syntax_error_has_a_hint),
	    cmocka_unit_test(the_last_reference_frees),
	    cmocka_unit_test(the_list_shows_values_and_hides_secrets),
	    cmocka_unit_test(every_key_is_described),
	    cmocka_unit_test(the_sample_configuration_is_valid),
	};

	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
