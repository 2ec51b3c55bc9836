#include "daemon/net/replies.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/net/statements.h"

enum { RING_SMALL = 8 };

#define BIT(kind) (1u << (kind))
#define ROWS	  (BIT(REPLY_EXECUTE) | BIT(REPLY_QUERY))

/* clang-format off */

/* Of which kinds a message type is a part, and which it completes. */
static const uint16_t continues[128] = {
	['t'] = BIT(REPLY_DESCRIBE_STATEMENT),
	['T'] = BIT(REPLY_QUERY),
	['D'] = ROWS,
	['C'] = BIT(REPLY_QUERY),
	['I'] = BIT(REPLY_QUERY),
	['G'] = ROWS,
	['H'] = ROWS,
	['d'] = ROWS,
	['c'] = ROWS,
	['V'] = BIT(REPLY_CALL),
};
static const uint16_t completes[128] = {
	['1'] = BIT(REPLY_PARSE),
	['2'] = BIT(REPLY_BIND),
	['3'] = BIT(REPLY_CLOSE),
	['T'] = BIT(REPLY_DESCRIBE_STATEMENT) | BIT(REPLY_DESCRIBE_PORTAL),
	['n'] = BIT(REPLY_DESCRIBE_STATEMENT) | BIT(REPLY_DESCRIBE_PORTAL),
	['C'] = BIT(REPLY_EXECUTE),
	['I'] = BIT(REPLY_EXECUTE),
	['s'] = BIT(REPLY_EXECUTE),
	['Z'] = BIT(REPLY_SYNC) | BIT(REPLY_QUERY) | BIT(REPLY_CALL),
};

/* Kinds that end with their own ReadyForQuery even after an error. */
static const uint16_t own_ready =
	BIT(REPLY_SYNC) | BIT(REPLY_QUERY) | BIT(REPLY_CALL);

/* clang-format on */

void replies_init(struct replies *r, reply_leave_fn leave, void *arg)
{
	memset(r, 0, sizeof(*r));
	r->leave = leave;
	r->arg = arg;
}

static struct reply *replies_at(const struct replies *r, uint32_t i)
{
	return &r->ring[(r->head + i) & (r->cap - 1)];
}

void replies_free(struct replies *r)
{
	while (r->count > 0) {
		r->count--;
		r->leave(r->arg, replies_at(r, r->count), false, false);
	}
	free(r->ring);
	r->ring = NULL;
	r->cap = 0;
}

void replies_shrink(struct replies *r)
{
	if (r->count > 0 || r->cap <= RING_SMALL)
		return;
	free(r->ring);
	r->ring = NULL;
	r->cap = 0;
	r->head = 0;
}

static void replies_grow(struct replies *r)
{
	uint32_t cap = r->cap == 0 ? RING_SMALL : r->cap * 2;
	struct reply *ring = calloc(cap, sizeof(*ring));

	if (ring == NULL)
		abort();
	for (uint32_t i = 0; i < r->count; i++)
		ring[i] = *replies_at(r, i);
	free(r->ring);
	r->ring = ring;
	r->cap = cap;
	r->head = 0;
}

static bool kind_is_extended(enum reply_kind kind)
{
	return !(own_ready & BIT(kind)) && kind != REPLY_COPY_END;
}

/* What a message means to a server that is not listening for it; true if it
 * owes nothing because of that. */
static bool replies_ignored(struct replies *r, enum reply_kind kind)
{
	if (r->copy_in) {
		if (kind == REPLY_SYNC)
			r->doubtful++;
		else
			r->copy_in = false;
		return true;
	}
	if (!r->skipping)
		return false;
	if (kind == REPLY_SYNC)
		r->skipping = false;
	return r->skipping;
}

struct reply *replies_push(struct replies *r, enum reply_kind kind,
			   enum reply_fate fate)
{
	struct reply *e;

	if (replies_ignored(r, kind))
		return NULL;
	if (r->count == r->cap)
		replies_grow(r);
	e = replies_at(r, r->count++);
	memset(e, 0, sizeof(*e));
	e->kind = (uint8_t)kind;
	e->fate = (uint8_t)fate;
	if (kind != REPLY_COPY_END)
		r->open = kind_is_extended(kind);
	return e;
}

struct reply *replies_push_first(struct replies *r, enum reply_kind kind,
				 enum reply_fate fate)
{
	struct reply *e;

	if (r->count == r->cap)
		replies_grow(r);
	r->head--;
	r->count++;
	e = replies_at(r, 0);
	memset(e, 0, sizeof(*e));
	e->kind = (uint8_t)kind;
	e->fate = (uint8_t)fate;
	return e;
}

/* Takes the head off; markers behind it owe nothing and go too. */
static void replies_pop(struct replies *r, bool done, bool failed)
{
	struct reply e = *replies_head(r);

	r->head++;
	r->count--;
	if (r->count == 0)
		r->head = 0;
	r->leave(r->arg, &e, done, failed);
	while (r->count > 0 && replies_head(r)->kind == REPLY_COPY_END) {
		r->head++;
		r->count--;
	}
}

enum reply_step replies_step(const struct replies *r, char type)
{
	const struct reply *e = replies_head(r);
	unsigned char t = (unsigned char)type;

	if (t == 'N' || t == 'A' || t == 'S')
		return STEP_FORWARD;
	if (t == 'E')
		return STEP_ERROR;
	if (e == NULL)
		return t == 'Z' && r->doubtful > 0 ? STEP_STRAY : STEP_BAD;
	if (t >= 128)
		return STEP_BAD;
	if ((completes[t] & BIT(e->kind)) || (t == 'Z' && e->again))
		return STEP_LAST;
	if (continues[t] & BIT(e->kind))
		return STEP_FORWARD;
	if (t == 'Z' && r->doubtful > 0)
		return STEP_STRAY;
	return STEP_BAD;
}

void replies_done(struct replies *r)
{
	assert(r->count > 0);
	r->copy_in = false;
	if (replies_head(r)->kind == REPLY_SYNC)
		r->doubtful = 0;
	replies_pop(r, true, false);
	replies_check(r);
}

/* Entries are undone youngest first: each puts back what it replaced. */
static void replies_drop_to_sync(struct replies *r)
{
	uint32_t n = 0;

	while (n < r->count && replies_at(r, n)->kind != REPLY_SYNC)
		n++;
	if (n == r->count)
		r->skipping = true;
	for (uint32_t i = n; i-- > 0;)
		r->leave(r->arg, replies_at(r, i), false, i == 0);
	r->head += n;
	r->count -= n;
}

void replies_failed(struct replies *r)
{
	struct reply *e = replies_head(r);

	r->copy_in = false;
	if (e == NULL || (own_ready & BIT(e->kind)))
		return;
	replies_drop_to_sync(r);
	replies_check(r);
}

void replies_stray(struct replies *r)
{
	assert(r->doubtful > 0);
	r->doubtful--;
}

/* Removes the entry i places behind the head. */
static void replies_remove(struct replies *r, uint32_t i)
{
	r->leave(r->arg, replies_at(r, i), false, false);
	for (; i + 1 < r->count; i++)
		*replies_at(r, i) = *replies_at(r, i + 1);
	r->count--;
}

void replies_copy_started(struct replies *r)
{
	enum reply_kind kind;

	r->copy_in = true;
	while (r->count > 1 && r->copy_in) {
		kind = replies_at(r, 1)->kind;
		if (kind == REPLY_SYNC)
			r->doubtful++;
		else
			r->copy_in = false;
		replies_remove(r, 1);
	}
}

void replies_copy_ended(struct replies *r)
{
	if (r->copy_in)
		r->copy_in = false;
	else if (r->count > 0 && !r->skipping)
		replies_push(r, REPLY_COPY_END, FATE_SWALLOW);
}

struct reply *replies_tail(const struct replies *r)
{
	return r->count == 0 ? NULL : replies_at(r, r->count - 1);
}

void replies_keep_parsed(const struct replies *r, struct statements *t)
{
	for (uint32_t i = 1; i < r->count; i++) {
		struct reply *e = replies_at(r, i);

		if (e->kind == REPLY_PARSE && e->statement != NULL)
			statement_unref(
			    statements_put(t, statement_ref(e->statement)));
	}
}

void replies_check(const struct replies *r)
{
	assert(r->count <= r->cap);
	assert((r->cap & (r->cap - 1)) == 0);
	assert(r->count == 0 || replies_head(r)->kind != REPLY_COPY_END);
	assert(!(r->copy_in && r->skipping));
}
