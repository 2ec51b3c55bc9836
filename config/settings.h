/*
 * The daemon's settings, as pgtandem.yaml says them, with every migration's
 * specification that it names.
 *
 * Immutable and reference-counted: a reload reads a new one beside it.  Every
 * key is checked; a failure names file, line, key and what was expected.
 */
#ifndef CONFIG_SETTINGS_H
#define CONFIG_SETTINGS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"
#include "config/problem.h"
#include "config/spec.h"

enum client_tls { CLIENT_TLS_OFF = 1, CLIENT_TLS_ALLOW, CLIENT_TLS_REQUIRE };
/* libpq's sslmode names. */
enum server_tls {
	SERVER_TLS_DISABLE = 1,
	SERVER_TLS_ALLOW,
	SERVER_TLS_PREFER,
	SERVER_TLS_REQUIRE,
	SERVER_TLS_VERIFY_CA,
	SERVER_TLS_VERIFY_FULL,
};
enum log_level { LOG_ERROR = 1, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT = 1, LOG_JSON };

struct listen_setting {
	const char *address; /* numeric, or NULL when `socket` is given */
	const char *socket;  /* directory of a unix socket, as PostgreSQL's
			      * unix_socket_directories; or NULL */
	uint16_t port;
	struct {
		enum client_tls mode;
		const char *cert, *key, *client_ca; /* paths, or NULL */
	} tls;
};

struct admin_user {
	const char *name;
	const char *secret; /* "SCRAM-SHA-256$iter:salt$stored:server" */
};

struct settings {
	atomic_uint refs;
	struct arena arena; /* owns everything below */
	const char *file;
	size_t n_listen;
	const struct listen_setting *listen;
	struct {
		const char *host; /* name, address, or /socket/directory */
		uint16_t port;
		enum server_tls tls_mode;
		const char *root_cert;	     /* path, or NULL */
		const char *cert, *key;	     /* client certificate, or NULL */
		uint64_t connect_timeout_ms; /* default 10 s */
	} server;
	struct {
		const char *address; /* default 127.0.0.1 */
		uint16_t port;	     /* 0: no admin port */
		const char *socket;  /* directory, or NULL: no unix socket */
		size_t n_users;
		const struct admin_user *users;
	} admin;
	const char *control; /* libpq conninfo, without host and port */
	unsigned workers;    /* 0: one per core */
	uint64_t lease_ms;
	uint64_t login_timeout_ms;   /* default 60 s; whole handshake */
	uint64_t drain_timeout_ms;   /* default 30 s; SIGTERM */
	uint64_t hold_timeout_ms;    /* default 10 s; statements held by DDL */
	uint64_t barrier_timeout_ms; /* default 60 s */
	struct {
		uint32_t latency_percent; /* 0: no brake; default 300 */
	} walk;
	uint32_t max_statement_bytes; /* parsed at most; default 4 MiB */
	uint32_t statement_cache;     /* entries per worker; default 4096 */
	uint16_t tcp_keepalive_s; /* idle seconds before probes; default 60 */
	enum log_level log_level;
	enum log_format log_format;
	const char *migrations; /* glob relative to the file, or NULL */
	size_t n_specs;		/* at most 64 of one database */
	const struct spec *const *specs;
	/* What is allowed and was hardly meant, a sentence each; for `check`
	 * and the log. */
	size_t n_notes;
	const char *const *notes;
};

/* Paths in it count from the file's folder.  A failure leaves nothing behind
 * but `p`.  The result has one reference. */
bool settings_read(const char *file, struct settings **ret, struct problem *p)
    __attribute__((warn_unused_result));
struct settings *settings_ref(struct settings *s);
void settings_unref(struct settings *s);

struct setting_value {
	const char *name, *value, *what;
};
/* Every setting in force as rows ("listen[0].port", value, description), in
 * the arena `a`; secrets and passwords are masked. */
size_t settings_list(const struct settings *s, struct arena *a,
		     const struct setting_value **ret);
/* Every key as rows ("listen[].port", what it accepts and its default,
 * description), in the arena `a`, for the manual: of the configuration, and of
 * a migration file. */
size_t settings_describe(struct arena *a, const struct setting_value **ret);
size_t settings_describe_spec(struct arena *a,
			      const struct setting_value **ret);

#endif
