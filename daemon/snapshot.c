#include "daemon/snapshot.h"

#include <stdlib.h>
#include <string.h>

struct snapshot *snapshot_create(struct settings *settings, uint64_t serial)
{
	struct snapshot *s = calloc(1, sizeof(*s));

	if (s == NULL)
		abort();
	atomic_init(&s->refs, 1);
	s->serial = serial;
	s->settings = settings;
	arena_init(&s->arena);
	return s;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void snapshot_unref(struct snapshot *s)
{
	if (s == NULL)
		return;
	if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
		return;
	settings_unref(s->settings);
	arena_free(&s->arena);
	free(s);
}

const struct snapshot_database *snapshot_find(const struct snapshot *s,
					      const char *database)
{
	for (size_t i = 0; i < s->n_databases; i++)
		if (strcmp(s->databases[i].name, database) == 0)
			return &s->databases[i];
	return NULL;
}
