#include "daemon/net/origins.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "rewrite/rewrite.h"

enum { TABLE_SIZE = 4, COLUMN_SIZE = 2, TAIL_SIZE = 18 };

/* One column of the message: its name, then table, number and type. */
struct at {
	uint8_t *name, *table;
	uint16_t left; /* columns from this one on */
};

static void at_set(struct at *at, uint8_t *name, uint16_t left)
{
	at->name = name;
	at->left = left;
	at->table = left > 0 ? name + strlen((char *)name) + 1 : name;
}

static void at_next(struct at *at)
{
	at_set(at, at->table + TAIL_SIZE, (uint16_t)(at->left - 1));
}

static uint32_t load(const uint8_t *p, unsigned n)
{
	uint32_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

static void put_origin(const struct at *at, uint32_t table, int16_t column)
{
	for (unsigned i = 0; i < TABLE_SIZE; i++)
		at->table[i] = (uint8_t)(table >> 8 * (TABLE_SIZE - 1 - i));
	at->table[TABLE_SIZE] = (uint8_t)((uint16_t)column >> 8);
	at->table[TABLE_SIZE + 1] = (uint8_t)column;
}

static const struct plan_own *find_own(const struct plan_origins *o,
				       const struct at *at)
{
	uint32_t table = load(at->table, TABLE_SIZE);

	for (size_t i = 0; i < o->n_own; i++)
		if (o->own[i].from == table)
			return &o->own[i];
	return NULL;
}

static void tell_among(const struct plan_origins *o, const struct at *at)
{
	const struct plan_origin *c = o->among;

	for (; c < o->among + o->n_among; c++) {
		if (c->table == 0 || strcmp(c->name, (char *)at->name) != 0)
			continue;
		put_origin(at, c->table, c->column);
		return;
	}
}

/* Of which the plan does not know more. */
static void tell_own(const struct plan_origins *o, const struct at *at)
{
	const struct plan_own *own = find_own(o, at);
	uint32_t column = load(at->table + TABLE_SIZE, COLUMN_SIZE);

	if (o->n_among > 0 && load(at->table, TABLE_SIZE) == 0)
		tell_among(o, at);
	if (own != NULL && column < own->n && own->columns[column] != 0)
		put_origin(at, own->table, own->columns[column]);
}

/* Names the server nothing, or the relation, or what stands for it? */
static bool is_open(const struct plan_origins *o, const struct plan_origin *c,
		    const struct at *at)
{
	uint32_t table = load(at->table, TABLE_SIZE);

	return table == 0 || table == c->table || find_own(o, at) != NULL;
}

static void tell(const struct plan_origins *o, const struct plan_origin *c,
		 const struct at *at)
{
	if (c->table == 0)
		tell_own(o, at);
	else if (!c->unsure || is_open(o, c, at))
		put_origin(at, c->table, c->column);
}

/* Are the known columns from `c` to the next that stands for many here? */
static bool fits(const struct plan_origins *o, const struct plan_origin *c,
		 struct at at)
{
	bool any = false;

	for (; !c->many; c++, at_next(&at)) {
		if (at.left == 0)
			return false;
		if (c->name != NULL && strcmp(c->name, (char *)at.name) != 0)
			return false;
		if (c->table != 0 && !is_open(o, c, &at))
			return false;
		any |= c->table != 0;
	}
	return any;
}

/* Between two that stand for many: each group of known columns is where its
 * names are first. */
static void tell_middle(const struct plan_origins *o, struct at *at)
{
	const struct plan_origin *c = o->columns + o->first_many;
	const struct plan_origin *end = o->columns + o->n - o->after_many;

	while (at->left > o->after_many) {
		while (c < end && c->many)
			c++;
		if (c == end || !fits(o, c, *at)) {
			tell_own(o, at);
			at_next(at);
			continue;
		}
		for (; !c->many; c++, at_next(at))
			tell(o, c, at);
	}
}

void origins_apply(const struct plan_origins *o, uint8_t *body, uint16_t n)
{
	const struct plan_origin *c = o->columns;
	struct at at;

	if ((o->first_many == o->n && n != o->n) || n < o->first_many ||
	    (o->first_many < o->n && n < o->first_many + o->after_many))
		return;
	at_set(&at, body + COLUMN_SIZE, n);
	for (; c < o->columns + o->first_many; c++, at_next(&at))
		tell(o, c, &at);
	if (o->first_many == o->n)
		return;
	tell_middle(o, &at);
	c = o->columns + o->n - o->after_many;
	for (; at.left > 0; c++, at_next(&at))
		tell(o, c, &at);
}
