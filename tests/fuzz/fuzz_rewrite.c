/* Oracle: what is edited parses, nothing is edited in planned, every position
 * leads into the client's text.  The first byte: phase, prelock, read side. */
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <pg_query.h>
#include <string.h>

#include "rewrite/rewrite.h"
#include "rewrite/text/newer.h"
#include "tests/cases/model.h"

static const struct ruleset *rules_for(uint8_t key)
{
	static const struct ruleset *rules[2 * PHASE_COUNT];
	static struct arena a;
	unsigned at = key % (2 * PHASE_COUNT);

	if (rules[at] == NULL)
		rules[at] = model_rules(model_read(FUZZ_SCHEMA, &a),
					at % PHASE_COUNT, at >= PHASE_COUNT,
					at >= PHASE_COUNT ? 180000 : 0, &a);
	return rules[at];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rewrite_request req = {.sql = (const char *)data + 1};
	PgQuerySplitResult parsed;
	const struct plan *plan;
	const char *sent, *stand_in;
	struct arena a;

	if (size == 0)
		return 0;
	req.len = size - 1;
	req.read_new = data[0] < 128;
	req.rules = rules_for(data[0]);
	arena_init(&a);
	plan = rewrite_plan(&req, &a);
	assert(plan->kind != PLAN_EDIT || data[0] % PHASE_COUNT);
	assert(strcmp(plan->refusal.sqlstate, "XX000") != 0);
	sent = plan->kind == PLAN_EDIT ? plan->text : "";
	stand_in =
	    newer_stand_in(sent, strlen(sent), req.rules->server_version, &a);
	parsed = pg_query_split_with_parser(stand_in ? stand_in : sent);
	assert(parsed.error == NULL);
	pg_query_free_split_result(parsed);
	for (uint32_t p = 1; plan->kind == PLAN_EDIT && p <= plan->len + 1;
	     p += 1 + plan->len / 64)
		assert(plan_map_position(plan, req.sql, req.len, p) <= size);
	arena_free(&a);
	return 0;
}
