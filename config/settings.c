/*
 * The tables of pgtandem.yaml, what must hold between its keys, and the
 * migration files that it names.
 */
#include "config/settings.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "config/conninfo.h"
#include "config/schema.h"

enum {
	/* sockaddr_un holds 107 bytes, with "/.s.PGSQL.65535" at the end. */
	SOCKET_DIRECTORY_BYTES = 90,
	USER_BYTES = 63,
	MAX_SPECS = 64, /* of one database: a bit each in a snapshot */
	MAX_LISTEN = 64,
};

static const char *check_address(const char *text);
static const char *check_socket(const char *text);
static bool check_listen(struct schema_reader *r, const struct node *n,
			 void *base);
static bool check_server(struct schema_reader *r, const struct node *n,
			 void *base);
static bool check_admin(struct schema_reader *r, const struct node *n,
			void *base);
static const struct value_type users_type, control_type;

/* clang-format off */
static const struct choice client_tls_modes[] = {
	{ "off", CLIENT_TLS_OFF }, { "allow", CLIENT_TLS_ALLOW },
	{ "require", CLIENT_TLS_REQUIRE }, { 0 },
};
static const struct choice server_tls_modes[] = {
	{ "disable", SERVER_TLS_DISABLE }, { "allow", SERVER_TLS_ALLOW },
	{ "prefer", SERVER_TLS_PREFER }, { "require", SERVER_TLS_REQUIRE },
	{ "verify-ca", SERVER_TLS_VERIFY_CA },
	{ "verify-full", SERVER_TLS_VERIFY_FULL }, { 0 },
};
static const struct choice log_levels[] = {
	{ "error", LOG_ERROR }, { "warn", LOG_WARN }, { "info", LOG_INFO },
	{ "debug", LOG_DEBUG }, { 0 },
};
static const struct choice log_formats[] = {
	{ "text", LOG_TEXT }, { "json", LOG_JSON }, { 0 },
};

static const struct field listen_tls_fields[] = {
	{ "mode", &schema_choice, AT(struct listen_setting, tls.mode),
	  .fallback = "off", .choices = client_tls_modes,
	  .what = "whether clients may, or must, use TLS" },
	{ "cert", &schema_file, AT(struct listen_setting, tls.cert),
	  .what = "certificate chain shown to clients, PEM" },
	{ "key", &schema_file, AT(struct listen_setting, tls.key),
	  .what = "its private key, PEM" },
	{ "client_ca", &schema_file, AT(struct listen_setting, tls.client_ca),
	  .what = "authorities whose client certificates are asked for "
	  "and checked, PEM" },
	{ 0 },
};
static const struct field listen_fields[] = {
	{ "address", &schema_text, AT(struct listen_setting, address),
	  .check = check_address, .what = "numeric address to listen on; "
	  "127.0.0.1 where neither it nor socket is given" },
	{ "socket", &schema_path, AT(struct listen_setting, socket),
	  .check = check_socket,
	  .what = "instead of address: directory of a unix socket, as in "
	  "PostgreSQL's unix_socket_directories" },
	{ "port", &schema_number, AT(struct listen_setting, port),
	  .required = true, .min = 1, .max = 65535,
	  .what = "TCP port; also part of a unix socket's name" },
	{ "tls", &schema_map, .fields = listen_tls_fields,
	  .what = "TLS to clients" },
	{ 0 },
};
static const struct field server_tls_fields[] = {
	{ "mode", &schema_choice, AT(struct settings, server.tls_mode),
	  .fallback = "prefer", .choices = server_tls_modes,
	  .what = "TLS to the server, libpq's sslmode" },
	{ "root_cert", &schema_file, AT(struct settings, server.root_cert),
	  .what = "authorities that the server's certificate is checked "
	  "against, PEM" },
	{ "cert", &schema_file, AT(struct settings, server.cert),
	  .what = "client certificate shown to the server, PEM" },
	{ "key", &schema_file, AT(struct settings, server.key),
	  .what = "its private key, PEM" },
	{ 0 },
};
static const struct field server_fields[] = {
	{ "host", &schema_text, AT(struct settings, server.host),
	  .fallback = "127.0.0.1",
	  .what = "PostgreSQL's name or address, or the directory of its "
	  "unix socket" },
	{ "port", &schema_number, AT(struct settings, server.port),
	  .fallback = "5432", .min = 1, .max = 65535,
	  .what = "PostgreSQL's port" },
	{ "connect_timeout", &schema_duration,
	  AT(struct settings, server.connect_timeout_ms),
	  .fallback = "10s", .min = 100, .max = 600000,
	  .what = "how long connecting may take" },
	{ "tls", &schema_map, .fields = server_tls_fields,
	  .what = "TLS to the server" },
	{ 0 },
};
static const struct field admin_fields[] = {
	{ "address", &schema_text, AT(struct settings, admin.address),
	  .fallback = "127.0.0.1", .check = check_address,
	  .what = "numeric address of the console and of HTTP" },
	{ "port", &schema_number, AT(struct settings, admin.port),
	  .fallback = "0", .max = 65535, .what = "its port; 0: none" },
	{ "users", &users_type,
	  .what = "who may use the console, with SCRAM secrets" },
	{ "socket", &schema_path, AT(struct settings, admin.socket),
	  .check = check_socket, .what = "directory of a unix socket "
	  "for the console, where the peer's user counts" },
	{ 0 },
};
static const struct field log_fields[] = {
	{ "level", &schema_choice, AT(struct settings, log_level),
	  .fallback = "info", .choices = log_levels,
	  .what = "the least that is logged" },
	{ "format", &schema_choice, AT(struct settings, log_format),
	  .fallback = "text", .choices = log_formats,
	  .what = "how a line is written" },
	{ 0 },
};
static const struct field walk_fields[] = {
	{ "latency_percent", &schema_number,
	  AT(struct settings, walk.latency_percent),
	  .fallback = "300", .max = 100000,
	  .what = "how slow the application's statements may get while a walk "
	  "copies rows, in percent of their p99 before it; beyond that it "
	  "slows down; 0: it does not" },
	{ 0 },
};
static const struct field settings_fields[] = {
	{ "listen", &schema_list,
	  AT_LIST(struct settings, listen, struct listen_setting),
	  .required = true, .min = 1, .max = MAX_LISTEN,
	  .fields = listen_fields, .finish = check_listen,
	  .what = "where clients connect" },
	{ "server", &schema_map, .fields = server_fields,
	  .finish = check_server, .what = "the PostgreSQL server" },
	{ "admin", &schema_map, .fields = admin_fields,
	  .finish = check_admin, .what = "the console" },
	{ "control", &control_type, AT(struct settings, control),
	  .what = "libpq connection string for state, walker and rehearsal, "
	  "without host, port and dbname" },
	{ "workers", &schema_number, AT(struct settings, workers),
	  .fallback = "0", .max = 1024,
	  .what = "event loops; 0: one per core" },
	{ "lease", &schema_duration, AT(struct settings, lease_ms),
	  .fallback = "5s", .min = 500, .max = 600000,
	  .what = "how long an instance goes on without having confirmed "
	  "its epoch with the database" },
	{ "login_timeout", &schema_duration,
	  AT(struct settings, login_timeout_ms),
	  .fallback = "60s", .min = 100, .max = 3600000,
	  .what = "how long a login may take, as a whole" },
	{ "drain_timeout", &schema_duration,
	  AT(struct settings, drain_timeout_ms),
	  .fallback = "30s", .max = 86400000,
	  .what = "how long SIGTERM waits for running transactions" },
	{ "hold_timeout", &schema_duration,
	  AT(struct settings, hold_timeout_ms),
	  .fallback = "10s", .min = 100, .max = 600000,
	  .what = "how long statements wait for DDL that pgtandem runs" },
	{ "barrier_timeout", &schema_duration,
	  AT(struct settings, barrier_timeout_ms),
	  .fallback = "60s", .min = 100, .max = 86400000,
	  .what = "how long a move waits for older transactions" },
	{ "walk", &schema_map, .fields = walk_fields,
	  .what = "copying and comparing rows" },
	{ "max_statement_bytes", &schema_number,
	  AT(struct settings, max_statement_bytes),
	  .fallback = "4194304", .min = 1024, .max = 1 << 30,
	  .what = "the longest statement that is parsed" },
	{ "statement_cache", &schema_number,
	  AT(struct settings, statement_cache),
	  .fallback = "4096", .min = 16, .max = 1 << 20,
	  .what = "statements that each worker remembers parsed" },
	{ "tcp_keepalive", &schema_duration,
	  AT(struct settings, tcp_keepalive_s), .unit_ms = 1000,
	  .fallback = "60s", .min = 1000, .max = 32767000,
	  .what = "idle time before TCP probes the other side" },
	{ "log", &schema_map, .fields = log_fields, .what = "the log" },
	{ "migrations", &schema_text, AT(struct settings, migrations),
	  .what = "migration files, as a shell pattern" },
	{ 0 },
};
/* clang-format on */

static const char *check_address(const char *text)
{
	unsigned char binary[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, text, binary) == 1 ||
	    inet_pton(AF_INET6, text, binary) == 1)
		return NULL;
	return "is not a numeric address, such as 127.0.0.1 or \"::1\"";
}

static const char *check_socket(const char *text)
{
	if (strlen(text) > SOCKET_DIRECTORY_BYTES)
		return "is longer than 90 bytes, too long for a unix socket";
	return NULL;
}

static bool check_listen(struct schema_reader *r, const struct node *n,
			 void *base)
{
	struct listen_setting *l = base;

	if (l->address != NULL && l->socket != NULL)
		return schema_fail(r, n,
				   "address and socket are both given; "
				   "expected one of them");
	if (l->address == NULL && l->socket == NULL)
		l->address = "127.0.0.1";
	if (l->tls.mode == CLIENT_TLS_OFF)
		return true;
	if (l->socket != NULL)
		return schema_fail(r, node_get(n, "tls"),
				   "mode %s on a unix "
				   "socket; expected off",
				   node_get(node_get(n, "tls"), "mode")->text);
	if (l->tls.cert == NULL || l->tls.key == NULL)
		return schema_fail(r, node_get(n, "tls"),
				   "mode %s needs cert "
				   "and key; %s is missing",
				   node_get(node_get(n, "tls"), "mode")->text,
				   l->tls.cert ? "key" : "cert");
	return true;
}

static bool check_server(struct schema_reader *r, const struct node *n,
			 void *base)
{
	const struct settings *s = base;
	const struct node *tls = node_get(n, "tls");

	if ((s->server.cert == NULL) != (s->server.key == NULL))
		return schema_fail(r, tls,
				   "cert and key are given together or "
				   "not at all; %s is missing",
				   s->server.cert ? "key" : "cert");
	if ((s->server.tls_mode == SERVER_TLS_VERIFY_CA ||
	     s->server.tls_mode == SERVER_TLS_VERIFY_FULL) &&
	    s->server.root_cert == NULL)
		return schema_fail(r, tls, "mode %s needs root_cert",
				   node_get(tls, "mode")->text);
	return true;
}

static bool check_admin(struct schema_reader *r, const struct node *n,
			void *base)
{
	const struct settings *s = base;

	if (s->admin.socket != NULL && s->admin.port == 0)
		return schema_fail(r, node_get(n, "socket"),
				   "needs port; it "
				   "is part of the socket's name");
	return true;
}

/* Admin users: a name, and what pg_authid.rolpassword would say. */

/* Reads base64 up to `end`; returns the bytes that it stands for, or -1. */
static int skip_base64(const char **s, char end)
{
	size_t len = strspn(*s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				"abcdefghijklmnopqrstuvwxyz0123456789+/");
	size_t pad = strspn(*s + len, "=");

	if (len == 0 || pad > 2 || (len + pad) % 4 != 0 || len > 4096 ||
	    (*s)[len + pad] != end)
		return -1;
	*s += len + pad + (end != '\0');
	return (int)(len * 3 / 4);
}

/* SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> */
static bool is_scram_secret(const char *s)
{
	static const char prefix[] = "SCRAM-SHA-256$";
	unsigned long iterations;
	char *end;

	if (strncmp(s, prefix, sizeof(prefix) - 1) != 0)
		return false;
	s += sizeof(prefix) - 1;
	if (*s < '1' || *s > '9')
		return false;
	iterations = strtoul(s, &end, 10);
	if (iterations > INT_MAX || *end != ':')
		return false;
	s = end + 1;
	return skip_base64(&s, '$') > 0 && skip_base64(&s, ':') == 32 &&
	       skip_base64(&s, '\0') == 32;
}

static const char *accepts_users(const struct field *f, struct arena *a)
{
	return "a mapping of user names to SCRAM-SHA-256 secrets";
}

static bool read_user(struct schema_reader *r, const struct node *n,
		      struct admin_user *user)
{
	static const char expected[] =
	    "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, as in "
	    "pg_authid.rolpassword";

	if (n->key[0] == '\0' || strlen(n->key) > USER_BYTES)
		return schema_fail(r, n,
				   "not a user's name; expected 1 to %d "
				   "bytes",
				   USER_BYTES);
	user->name = n->key;
	if (!schema_get_text(r, n, expected, &user->secret))
		return false;
	/* The text is not repeated: it may be the password itself. */
	if (!is_scram_secret(user->secret))
		return schema_fail(r, n, "is not a SCRAM secret; expected %s",
				   expected);
	return true;
}

static bool read_users(struct schema_reader *r, const struct field *f,
		       const struct node *map, void *base)
{
	struct settings *s = base;
	struct admin_user *users;
	const struct node *n = map->first;

	if (map->kind != NODE_MAP)
		return schema_fail_expected(r, map, accepts_users(f, NULL));
	users = arena_alloc(r->arena, map->n * sizeof(*users));
	for (unsigned i = 0; i < map->n; i++, n = n->next) {
		if (!read_user(r, n, &users[i]))
			return false;
	}
	s->admin.users = users;
	s->admin.n_users = map->n;
	return true;
}

static void list_users(struct schema_rows *rows, const char *name,
		       const struct field *f, const void *base)
{
	const struct settings *s = base;

	for (size_t i = 0; i < s->admin.n_users; i++)
		schema_add_row(rows,
			       arena_fmt(rows->arena, "%s.%s", name,
					 s->admin.users[i].name),
			       "***", f->what);
}

static const struct value_type users_type = {
    read_users,
    accepts_users,
    list_users,
};

/* The control connection's string, which may hold a password. */

static const char *accepts_control(const struct field *f, struct arena *a)
{
	return "key=value pairs, such as user=pgtandem";
}

static bool read_control(struct schema_reader *r, const struct field *f,
			 const struct node *n, void *base)
{
	struct settings *s = base;
	const char *wrong;

	if (!schema_get_text(r, n, accepts_control(f, NULL), &s->control))
		return false;
	wrong = conninfo_check(s->control, r->arena);
	if (wrong != NULL)
		return schema_fail(r, n, "%s", wrong);
	return true;
}

static void list_control(struct schema_rows *rows, const char *name,
			 const struct field *f, const void *base)
{
	const struct settings *s = base;

	schema_add_row(rows, name, conninfo_mask(s->control, rows->arena),
		       f->what);
}

static const struct value_type control_type = {
    read_control,
    accepts_control,
    list_control,
};

/* What must hold between sections. */

static bool same_place(const struct listen_setting *a,
		       const struct listen_setting *b)
{
	const char *x = a->address ? a->address : a->socket;
	const char *y = b->address ? b->address : b->socket;

	assert(x != NULL && y != NULL);
	return a->port == b->port && strcmp(x, y) == 0;
}

static bool check_places(const struct schema_reader *r, const struct node *root,
			 const struct settings *s)
{
	const struct listen_setting admin = {
	    .address = s->admin.address,
	    .port = s->admin.port,
	};
	const struct node *n = node_get(root, "listen")->first;

	for (size_t i = 0; i < s->n_listen; i++, n = n->next) {
		const struct listen_setting *l = &s->listen[i];

		for (size_t j = 0; j < i; j++) {
			if (same_place(l, &s->listen[j]))
				return schema_fail(r, n,
						   "the same address and "
						   "port as listen[%zu]",
						   j);
		}
		if (same_place(l, &admin))
			return schema_fail(r, n,
					   "the same address and port as "
					   "admin");
	}
	return true;
}

/* Migrations */

/* The pattern counts from the file's folder, whose own name is no pattern. */
static const char *full_pattern(const struct schema_reader *r,
				const char *pattern)
{
	const char *slash = strrchr(r->file, '/');
	char *full, *to;

	if (pattern[0] == '/' || slash == NULL)
		return pattern;
	full = arena_alloc(r->arena, 2 * strlen(r->file) + strlen(pattern) + 1);
	to = full;
	for (const char *c = r->file; c <= slash; c++) {
		if (strchr("*?[]\\", *c) != NULL)
			*to++ = '\\';
		*to++ = *c;
	}
	memcpy(to, pattern, strlen(pattern) + 1);
	return full;
}

/* The new one is the last; a name is a name in all databases, because the
 * console knows no other. */
static bool check_spec_names(const struct spec *const *specs, size_t n,
			     struct problem *p)
{
	const struct spec *new = specs[n - 1];
	size_t same_database = 0;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(specs[i]->database, new->database) == 0)
			same_database++;
		if (i < n - 1 && strcmp(specs[i]->name, new->name) == 0)
			return problem_set(p, "F0000",
					   "%s:%u: migration: \"%s\" is also "
					   "the name in %s:%u",
					   new->file, new->name_line, new->name,
					   specs[i]->file, specs[i]->name_line);
	}
	if (same_database > MAX_SPECS)
		return problem_set(p, "F0000",
				   "%s:%u: database: more than %d "
				   "migrations of database \"%s\"",
				   new->file, new->name_line, MAX_SPECS,
				   new->database);
	return true;
}

static bool read_specs(struct schema_reader *r, struct settings *s,
		       char *const *files, size_t n)
{
	const struct spec **specs =
	    arena_alloc(r->arena, n * sizeof(const struct spec *));

	for (size_t i = 0; i < n; i++) {
		if (!spec_read(files[i], r->arena, &specs[i], r->problem) ||
		    !check_spec_names(specs, i + 1, r->problem))
			return false;
	}
	s->specs = specs;
	s->n_specs = n;
	return true;
}

static void add_note(struct settings *s, const char *note)
{
	const char **notes =
	    arena_alloc(&s->arena, (s->n_notes + 1) * sizeof(*notes));

	for (size_t i = 0; i < s->n_notes; i++)
		notes[i] = s->notes[i];
	notes[s->n_notes++] = note;
	s->notes = notes;
}

/* A folder that is not there holds no match; one that may not be read could
 * hide one. */
static int on_glob_error(const char *path, int error)
{
	return error != ENOENT && error != ENOTDIR;
}

static bool read_migrations(struct schema_reader *r, const struct node *root,
			    struct settings *s)
{
	const struct node *n = node_get(root, "migrations");
	glob_t found = {0};
	bool ok;
	int rc;

	if (s->migrations == NULL)
		return true;
	rc = glob(full_pattern(r, s->migrations), 0, on_glob_error, &found);
	if (rc == 0) {
		ok = read_specs(r, s, found.gl_pathv, found.gl_pathc);
	} else if (rc == GLOB_NOMATCH) {
		add_note(s, arena_fmt(r->arena,
				      "%s:%u: migrations: no file "
				      "matches \"%s\"",
				      r->file, n->line, s->migrations));
		ok = true;
	} else {
		ok = schema_fail(r, n, "%s names a folder that cannot be read",
				 text_quote(s->migrations, r->arena));
	}
	globfree(&found);
	return ok;
}

static bool read_settings(struct settings *s, const char *file,
			  struct problem *p)
{
	struct schema_reader r = {
	    .file = arena_str(&s->arena, file),
	    .arena = &s->arena,
	    .problem = p,
	};
	const struct node *root;
	const char *text;
	size_t len;

	s->file = r.file;
	s->control = "";
	if (!document_load(r.file, r.arena, &text, &len, p) ||
	    !document_parse(r.file, text, len, r.arena, &root, p) ||
	    !schema_read(&r, settings_fields, root, s) ||
	    !check_places(&r, root, s) || !read_migrations(&r, root, s))
		return false;
	if (s->admin.port != 0 && s->admin.n_users == 0 &&
	    s->admin.socket == NULL)
		add_note(s, arena_fmt(r.arena,
				      "%s: admin: neither users nor "
				      "socket is given; nobody can use the "
				      "console",
				      r.file));
	return true;
}

bool settings_read(const char *file, struct settings **ret, struct problem *p)
{
	struct settings *s = calloc(1, sizeof(*s));

	if (s == NULL)
		abort();
	arena_init(&s->arena);
	atomic_init(&s->refs, 1);
	if (!read_settings(s, file, p)) {
		settings_unref(s);
		return false;
	}
	*ret = s;
	return true;
}

struct settings *settings_ref(struct settings *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void settings_unref(struct settings *s)
{
	if (s == NULL || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	arena_free(&s->arena);
	free(s);
}

static size_t rows_to_array(const struct schema_rows *rows,
			    const struct setting_value **ret)
{
	struct setting_value *values =
	    arena_alloc(rows->arena, rows->n * sizeof(*values));
	size_t n = 0;

	for (const struct schema_row *row = rows->first; row; row = row->next)
		values[n++] =
		    (struct setting_value){row->name, row->value, row->what};
	*ret = values;
	return n;
}

size_t settings_list(const struct settings *s, struct arena *a,
		     const struct setting_value **ret)
{
	struct schema_rows rows = {.arena = a};

	schema_list_rows(&rows, "", settings_fields, s);
	return rows_to_array(&rows, ret);
}

size_t settings_describe(struct arena *a, const struct setting_value **ret)
{
	struct schema_rows rows = {.arena = a};

	schema_list_rows(&rows, "", settings_fields, NULL);
	return rows_to_array(&rows, ret);
}

size_t settings_describe_spec(struct arena *a, const struct setting_value **ret)
{
	struct schema_rows rows = {.arena = a};

	spec_describe(&rows);
	return rows_to_array(&rows, ret);
}
