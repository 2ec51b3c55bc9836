/*
 * Where an error is in the sent text, as a place in the client's.
 */
#include "rewrite/rewrite.h"

/* The byte of a character, counted from 1, in UTF-8. */
static size_t byte_of_character(const char *s, size_t len, uint32_t position)
{
	size_t at = 0;

	while (at < len && --position > 0)
		for (at++; at < len && (s[at] & 0xc0) == 0x80;)
			at++;
	return at;
}

static uint32_t character_of_byte(const char *s, size_t at)
{
	uint32_t position = 1;

	for (size_t i = 0; i < at; i++)
		position += (s[i] & 0xc0) != 0x80;
	return position;
}

/* Of a byte that an edit added. */
static uint32_t position_in(const struct plan_edit *e, const char *sql,
			    size_t at)
{
	if (e->source == PLAN_OURS)
		return 0;
	return character_of_byte(sql,
				 e->source + (e->verbatim ? at - e->at : 0));
}

uint32_t plan_map_position(const struct plan *plan, const char *sql, size_t len,
			   uint32_t position)
{
	size_t at, back;

	if (plan->kind != PLAN_EDIT || position == 0)
		return position;
	at = byte_of_character(plan->text, plan->len, position);
	back = at;
	for (size_t i = 0; i < plan->n_edits; i++) {
		const struct plan_edit *e = &plan->edits[i];

		if (at < e->at)
			break;
		if (at < (size_t)e->at + e->added)
			return position_in(e, sql, at);
		/* What stands behind a schema that was taken out begins, to
		 * the client, with the schema. */
		back = at == e->at
			   ? e->from
			   : at - e->at - e->added + e->from + e->removed;
	}
	return back <= len ? character_of_byte(sql, back) : 0;
}
