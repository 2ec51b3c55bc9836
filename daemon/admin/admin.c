#include "daemon/admin/admin.h"

#include <string.h>

#include "daemon/log.h"

void admin_init(struct admin *a, struct settings *settings, uv_async_t *stop)
{
	memset(a, 0, sizeof(*a));
	a->settings = settings;
	a->stop = stop;
	a->started_ns = uv_hrtime();
	uv_mutex_init(&a->lock);
	uv_mutex_init(&a->reload_lock);
}

void admin_free(struct admin *a)
{
	settings_unref(a->settings);
	uv_mutex_destroy(&a->lock);
	uv_mutex_destroy(&a->reload_lock);
}

struct settings *admin_settings(struct admin *a)
{
	struct settings *s;

	uv_mutex_lock(&a->lock);
	s = settings_ref(a->settings);
	uv_mutex_unlock(&a->lock);
	return s;
}

static bool reload_locked(struct admin *a, struct problem *p)
{
	struct settings *old = admin_settings(a);
	struct settings *next;
	bool ok = settings_read(old->file, &next, p);

	settings_unref(old);
	if (!ok)
		return false;
	/* The control side takes over one reference, but only on success. */
	if (!control_reload(a->control, settings_ref(next), p)) {
		settings_unref(next);
		settings_unref(next);
		return false;
	}
	log_setup(next->log_level, next->log_format);
	uv_mutex_lock(&a->lock);
	old = a->settings;
	a->settings = next;
	uv_mutex_unlock(&a->lock);
	settings_unref(old);
	return true;
}

bool admin_reload(struct admin *a, struct problem *p)
{
	bool ok;

	uv_mutex_lock(&a->reload_lock);
	ok = reload_locked(a, p);
	uv_mutex_unlock(&a->reload_lock);
	return ok;
}

void admin_stop(struct admin *a)
{
	uv_async_send(a->stop);
}
