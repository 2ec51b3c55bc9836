#include "config/phase.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

/* clang-format off */
static const struct {
	const char *name, *what;
} phases[PHASE_COUNT] = {
#define X(id, name, what) [id] = {name, what},
	PHASES(X)
#undef X
};
/* clang-format on */

const char *phase_name(enum phase p)
{
	assert(p < PHASE_COUNT);
	return phases[p].name;
}

const char *phase_what(enum phase p)
{
	assert(p < PHASE_COUNT);
	return phases[p].what;
}

bool phase_from_name(const char *name, size_t len, enum phase *ret)
{
	for (unsigned i = 0; i < PHASE_COUNT; i++) {
		if (strlen(phases[i].name) == len &&
		    strncasecmp(phases[i].name, name, len) == 0) {
			*ret = (enum phase)i;
			return true;
		}
	}
	return false;
}
