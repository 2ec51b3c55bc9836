/*
 * What the control side holds of its databases and migrations in memory.
 *
 * Owned by struct control (control.c); shared by the keeper threads, the
 * command threads and the walks.  No connection is kept here: each thread
 * opens its own.
 *
 * Locks, taken in this order:
 *   migration.adopting   serialises reading the state and installing it, so
 *                        that what is installed is never older than what was;
 *                        held over queries
 *   migration.walking    serialises the starting and freeing of walks; held
 *                        while a walk is joined
 *   control.lock         everything marked (L); never held over a query
 *
 * `busy` makes one mover (or verify, or repair) of a migration per instance;
 * the advisory lock of job.c makes it one per database.
 */
#ifndef DAEMON_PHASE_MIGRATION_H
#define DAEMON_PHASE_MIGRATION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config/problem.h"
#include "config/settings.h"
#include "daemon/net/server.h"
#include "daemon/phase/brake.h"
#include "daemon/phase/state.h"
#include "daemon/snapshot.h"

struct walk_run; /* walks.h */

/* The descriptions of one lens's two relations (catalog_json.h), owned. */
struct lens_source {
	char *old_json;
	char *new_json; /* NULL: does not exist */
	uint32_t husk;	/* oid of what contract has left of old; or 0 */
	char *fingerprint;
};

struct migration {
	struct database *database; /* borrowed: its owner */
	char name[64];
	const struct spec *spec;   /* (L) in `settings` */
	struct settings *settings; /* (L) owned reference: a keeper may be
				    * adopting while a reload ends it */
	bool gone;		   /* (L) no longer configured */
	struct usage *usage;	   /* owned */
	uint64_t usage_kept_ms;	   /* keeper: last_old_ms in the state */
	uv_mutex_t adopting, walking;
	struct state_row row;	     /* (L) as adopted */
	uint64_t serial;	     /* (L) the first snapshot that carried
				      * row.epoch */
	bool held;		     /* (L) new statements wait */
	size_t n_lenses;	     /* (L) */
	struct lens_source *sources; /* (L) owned, n_lenses */
	struct problem misfit;	     /* (L) why the catalog does not fit the
				      * specification; message "" if it does */
	bool unfit;		     /* (L) `planned`: no lens can be made, so
				      * that no statement is looked at */
	const char *busy;	     /* (L) what is being done, or NULL */
	char waiting_since[40];	     /* (L) a barrier's moment, or "" */
	struct walk_run *walk;	     /* (L, and `walking` to change it) owned:
				      * the last or the running one */
	uint64_t locked_epoch;	     /* keeper: shared lock held, 0 none */
};

struct database {
	struct control *control; /* borrowed: its owner */
	char name[64];
	struct lease lease;
	size_t n_migrations;	       /* (L) */
	struct migration **migrations; /* (L) array and elements owned */
	uv_thread_t keeper;
	bool keeping;	    /* the thread runs */
	uv_cond_t wake;	    /* with control.lock */
	bool awake;	    /* (L) look at once */
	int server_version; /* (L) as last seen; 0: not yet */
};

struct control {
	uv_mutex_t lock;
	uv_mutex_t configuring;	   /* one reload at a time; before all others */
	char instance[96];	   /* host:pid, for the event log */
	struct settings *settings; /* (L) owned reference */
	struct server *server;	   /* (L) borrowed; NULL until attached */
	uint64_t serial;	   /* (L) of the last snapshot */
	bool stopping;		   /* (L) */
	size_t n_databases;	   /* (L) */
	struct database **databases; /* (L) array and elements owned */
	struct brake brake;	     /* (L) the time without walks */
};

/* NULL with `p` filled when there is none of this name. */
struct migration *migration_find(struct control *c, const char *name,
				 struct problem *p);

/* Life of the parts; nothing is connected. */
struct database *database_create(struct control *c, const char *name);
/* `spec` is of `settings`, of which a reference is taken. */
struct migration *migration_create(struct database *d,
				   struct settings *settings,
				   const struct spec *spec);
void migration_free(struct migration *m);
void database_free(struct database *d);

/*
 * Reads the state and, where it changed, the catalog; installs both and
 * publishes a snapshot if anything is new.  Refused, with everything left as
 * it was, when the lens does not fit the catalog; in `planned`, where nothing
 * rests on it, it is unfit.
 */
bool migration_adopt(struct migration *m, PGconn *db, struct problem *p)
    __attribute__((warn_unused_result));

/* Does the catalog, as the connection's transaction sees it, fit the
 * specification?  Installs nothing. */
bool migration_fits(struct migration *m, PGconn *db, struct problem *p)
    __attribute__((warn_unused_result));

/* Makes the keeper of the database look at once. */
void database_wake(struct database *d);

/* "migration x (phase y): " in front of a problem's message. */
void migration_problem(const struct migration *m, struct problem *p);

#endif
