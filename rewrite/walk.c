/*
 * One loop over a stack of nodes.  The parser library's own
 * raw_expression_tree_walker gives a node's children, which are pushed, not
 * descended into; it ends the process on a node that it does not know, so
 * only nodes of the table `descend` are given to it.
 *
 *   nodes with names of their own (SELECT, INSERT, ...) have a visitor, which
 *   first registers the relations of its FROM, then pushes the rest: so that
 *   a column reference, visited later, finds the relations around it.
 */
#include "rewrite/walk.h"

#include <assert.h>
#include <string.h>

#include <pg_query.h>
#include <nodes/nodeFuncs.h>

#if PG_MAJORVERSION_NUM != 15
#error "the parser library's tree has the layout of PostgreSQL 15"
#endif

/* WITH names in scope; only those that spell a name under migration, and the
 * writes that cannot be read from. */
struct scope {
	const struct scope *up;
	const char *name;
	const CommonTableExpr *no_rows; /* a write without RETURNING */
	unsigned depth;
};

enum { MOST_SCOPES = 100 };

enum { IN_LOCKING = 1, NESTED = 2 };

struct item {
	Node *node;
	int next; /* of a List: its next element */
	unsigned flags;
	const struct scope *scope;
	const struct level *level;
	const CommonTableExpr *cte; /* whose query it is */
	const Node *parent;	    /* lists aside */
	const Node *around;	    /* the parent's */
	const Node *beside;	    /* the FROM item that it is in, if that
				     * sees those in front of it */
};

struct walk {
	const struct rewrite_request *req;
	struct arena *a;
	struct found *found;
	struct item *stack;
	size_t depth, room;
	struct item current; /* whose children are being pushed */
};

typedef void (*visit_fn)(struct walk *w, const struct item *item);

/* clang-format off */
static const bool descend[] = {
	[T_GroupingFunc] = true, [T_SubLink] = true, [T_CaseExpr] = true,
	[T_RowExpr] = true, [T_CoalesceExpr] = true, [T_MinMaxExpr] = true,
	[T_XmlExpr] = true, [T_NullTest] = true, [T_BooleanTest] = true,
	[T_JoinExpr] = true, [T_List] = true, [T_InsertStmt] = true,
	[T_DeleteStmt] = true, [T_UpdateStmt] = true, [T_MergeStmt] = true,
	[T_MergeWhenClause] = true, [T_SelectStmt] = true, [T_A_Expr] = true,
	[T_BoolExpr] = true, [T_ColumnRef] = true, [T_FuncCall] = true,
	[T_NamedArgExpr] = true, [T_A_Indices] = true,
	[T_A_Indirection] = true, [T_A_ArrayExpr] = true, [T_ResTarget] = true,
	[T_MultiAssignRef] = true, [T_TypeCast] = true,
	[T_CollateClause] = true, [T_SortBy] = true, [T_WindowDef] = true,
	[T_RangeSubselect] = true, [T_RangeFunction] = true,
	[T_RangeTableSample] = true, [T_RangeTableFunc] = true,
	[T_RangeTableFuncCol] = true, [T_GroupingSet] = true,
	[T_XmlSerialize] = true, [T_InferClause] = true, [T_IndexElem] = true,
	[T_OnConflictClause] = true, [T_CurrentOfExpr] = true,
};
/* clang-format on */

enum { TAGS = sizeof(descend) / sizeof(*descend) };

static bool is_walked(const Node *node)
{
	return node != NULL && (size_t)nodeTag(node) < TAGS &&
	       descend[nodeTag(node)];
}

static bool sees_others(const Node *node)
{
	return IsA(node, RangeFunction) ||
	       (IsA(node, RangeSubselect) &&
		((const RangeSubselect *)node)->lateral);
}

static void push_item(struct walk *w, const struct item *item)
{
	if (w->depth == w->room) {
		size_t room = w->room ? 2 * w->room : 64;
		struct item *stack = arena_alloc(w->a, room * sizeof(*stack));

		if (w->depth > 0)
			memcpy(stack, w->stack, w->depth * sizeof(*stack));
		w->stack = stack;
		w->room = room;
	}
	w->stack[w->depth++] = *item;
}

/* With the scope and level of `w->current`. */
static bool push_child(Node *node, void *context)
{
	struct walk *w = context;
	struct item item = w->current;

	if (!is_walked(node))
		return false;
	item.node = node;
	item.next = 0;
	item.cte = NULL;
	if (!IsA(w->current.node, List)) {
		item.around = w->current.parent;
		item.parent = w->current.node;
	}
	if (sees_others(w->current.node))
		item.beside = w->current.node;
	push_item(w, &item);
	return false;
}

static void push_children(struct walk *w, Node *node)
{
	raw_expression_tree_walker(node, push_child, w);
}

static void push_list(struct walk *w, List *list)
{
	push_child((Node *)list, w);
}

int walk_match(const struct rewrite_request *req, const RangeVar *var)
{
	const struct ruleset *rules = req->rules;

	if (var->catalogname != NULL &&
	    strcmp(var->catalogname, rules->database) != 0)
		return -1;
	for (uint16_t i = name_index_find(&rules->index, var->relname,
					  strlen(var->relname));
	     i != NAME_NONE; i = rules->index.next[i]) {
		const struct rule_name *name = &rules->names[i];

		if (i >= rules->n_names ||
		    strcmp(var->relname, name->name) != 0)
			continue;
		if (var->schemaname != NULL
			? strcmp(var->schemaname, name->schema) == 0
			: !names_hide(req->names, i))
			return i;
	}
	return -1;
}

bool ref_is_replaced(const struct ref *ref)
{
	return ref->action == ACT_THROUGH || ref->action == ACT_HIDE ||
	       ref->action == ACT_HIDE_SYNC || ref->action == ACT_LENS ||
	       ref->action == ACT_LENS_SYNC;
}

const char *ref_alias(const struct ref *r)
{
	return r->var->alias != NULL ? r->var->alias->aliasname
				     : r->var->relname;
}

static const struct scope *find_with_name(const struct scope *scope,
					  const RangeVar *var)
{
	if (var->schemaname != NULL)
		return NULL;
	while (scope != NULL && strcmp(scope->name, var->relname) != 0)
		scope = scope->up;
	return scope;
}

static struct ref *add_ref(struct walk *w, struct level *level, int name,
			   const RangeVar *var, enum use use)
{
	struct ref *ref;

	if (w->found->n_refs == WALK_MAX_REFS) {
		w->found->over = true;
		return NULL;
	}
	ref = arena_alloc(w->a, sizeof(*ref));
	ref->name = (unsigned)name;
	ref->var = var;
	ref->use = use;
	ref->level = level;
	ref->next = level->refs;
	level->refs = ref;
	w->found->refs[w->found->n_refs++] = ref;
	return ref;
}

static void add_other(struct level *level, const Node *node)
{
	if (!level->has_others)
		level->first_other = node;
	level->has_others = true;
}

static void add_source(struct walk *w, const struct item *at,
		       struct level *level, const RangeVar *var,
		       const RangeTableSample *sample)
{
	const struct scope *with = find_with_name(at->scope, var);
	struct ref *ref;
	int name;

	if (with != NULL) {
		add_other(level, (const Node *)var);
		if (with->no_rows != NULL)
			w->found->read_in_vain = with->no_rows;
		return;
	}
	level->has_relation = true;
	name = walk_match(w->req, var);
	if (name < 0) {
		add_other(level, (const Node *)var);
		return;
	}
	ref = add_ref(w, level, name, var,
		      (at->flags & IN_LOCKING) ? USE_LOCK : USE_READ);
	if (ref != NULL)
		ref->sample = sample;
}

const char *from_name(const Node *item)
{
	const Alias *alias = NULL;

	if (IsA(item, RangeTableSample))
		item = ((const RangeTableSample *)item)->relation;
	if (IsA(item, RangeVar)) {
		const RangeVar *var = (const RangeVar *)item;

		return var->alias ? var->alias->aliasname : var->relname;
	}
	if (IsA(item, RangeSubselect))
		alias = ((const RangeSubselect *)item)->alias;
	else if (IsA(item, RangeFunction))
		alias = ((const RangeFunction *)item)->alias;
	else if (IsA(item, RangeTableFunc))
		alias = ((const RangeTableFunc *)item)->alias;
	else if (IsA(item, JoinExpr))
		alias = ((const JoinExpr *)item)->alias;
	return alias != NULL ? alias->aliasname : NULL;
}

static void note_alias(struct level *level, const Node *item)
{
	const char *name = item != NULL ? from_name(item) : NULL;

	level->has_old |= name != NULL && strcmp(name, "old") == 0;
	level->has_new |= name != NULL && strcmp(name, "new") == 0;
}

/* Registers the relations of one FROM item; joins are unfolded on the stack,
 * above `base`. */
static void add_from_item(struct walk *w, const struct item *at,
			  struct level *level, Node *node)
{
	size_t base = w->depth;
	struct item item = *at;

	for (item.node = node;; item = w->stack[--w->depth]) {
		const Node *n = item.node;
		const RangeTableSample *sample = NULL;

		note_alias(level, n);
		if (n != NULL && IsA(n, RangeTableSample)) {
			sample = (const RangeTableSample *)n;
			n = sample->relation;
		}
		if (n != NULL && IsA(n, RangeVar))
			add_source(w, at, level, (const RangeVar *)n, sample);
		else if (n != NULL && !IsA(n, JoinExpr))
			add_other(level, n);
		if (n != NULL && IsA(n, JoinExpr)) {
			item.node = ((const JoinExpr *)n)->rarg;
			push_item(w, &item);
			item.node = ((const JoinExpr *)n)->larg;
			push_item(w, &item);
		}
		if (w->depth == base)
			return;
	}
}

static void add_from(struct walk *w, const struct item *at, struct level *level,
		     List *from)
{
	ListCell *cell;

	foreach (cell, from)
		add_from_item(w, at, level, lfirst(cell));
}

static struct level *new_level(struct walk *w, const struct item *item)
{
	struct level *level = arena_alloc(w->a, sizeof(*level));

	level->up = item->level;
	return level;
}

static bool is_rule_name(const struct ruleset *rules, const char *name)
{
	for (size_t i = 0; i < rules->n_names; i++)
		if (strcmp(rules->names[i].name, name) == 0)
			return true;
	return false;
}

static bool gives_no_rows(const Node *query)
{
	if (IsA(query, InsertStmt))
		return ((const InsertStmt *)query)->returningList == NIL;
	if (IsA(query, UpdateStmt))
		return ((const UpdateStmt *)query)->returningList == NIL;
	if (IsA(query, DeleteStmt))
		return ((const DeleteStmt *)query)->returningList == NIL;
	return false;
}

static const struct scope *add_with_name(struct walk *w, const struct scope *up,
					 const CommonTableExpr *cte)
{
	bool no_rows = gives_no_rows(cte->ctequery);
	struct scope *scope;

	if (!no_rows && !is_rule_name(w->req->rules, cte->ctename))
		return up;
	if (up != NULL && up->depth >= MOST_SCOPES) {
		w->found->over = true;
		return up;
	}
	scope = arena_alloc(w->a, sizeof(*scope));
	*scope = (struct scope){.up = up,
				.name = cte->ctename,
				.no_rows = no_rows ? cte : NULL,
				.depth = up != NULL ? up->depth + 1 : 1};
	return scope;
}

/* Pushes the queries of a WITH, each with the names that it sees; gives what
 * the statement itself sees. */
static const struct scope *push_with(struct walk *w, const struct item *at,
				     const WithClause *with)
{
	const struct scope *scope = at->scope;
	struct item item = *at;
	ListCell *cell;

	if (with == NULL)
		return scope;
	item.flags = (at->flags & (unsigned)~IN_LOCKING) | NESTED;
	item.next = 0;
	if (with->recursive)
		foreach (cell, with->ctes)
			scope = add_with_name(w, scope, lfirst(cell));
	foreach (cell, with->ctes) {
		const CommonTableExpr *cte = lfirst(cell);

		item.node = cte->ctequery;
		item.cte = cte;
		item.scope = scope;
		if (is_walked(item.node))
			push_item(w, &item);
		if (!with->recursive)
			scope = add_with_name(w, scope, cte);
	}
	return scope;
}

/* Of all relations from its place out to that of `ref`, are the columns
 * known? */
static bool is_sure(const struct item *item, const struct ref *ref)
{
	const struct level *level = item->level;

	for (; level != NULL; level = level->up) {
		if (level->has_others && level->first_other != item->beside)
			return false;
		if (level == ref->level)
			return true;
	}
	return false;
}

static void add_column(struct walk *w, enum column_kind kind,
		       const struct item *item, const struct ref *ref)
{
	struct found *f = w->found;

	if (f->n_columns == WALK_MAX_COLUMNS) {
		f->over = true;
		return;
	}
	if (f->n_columns == f->columns_room) {
		size_t room = f->columns_room ? 2 * f->columns_room : 8;
		struct column_use *v = arena_alloc(w->a, room * sizeof(*v));

		if (f->n_columns > 0)
			memcpy(v, f->columns, f->n_columns * sizeof(*v));
		f->columns = v;
		f->columns_room = room;
	}
	f->columns[f->n_columns++] =
	    (struct column_use){.kind = kind,
				.is_sure = is_sure(item, ref),
				.parent = item->parent,
				.around = item->around,
				.node = (const ColumnRef *)item->node,
				.ref = ref};
}

/* The written row as OLD or NEW, which PostgreSQL knows in RETURNING from 18
 * on, unless something in FROM is called so. */
static const struct ref *
find_returned(const struct walk *w, const struct level *level, const char *name)
{
	bool old = strcmp(name, "old") == 0;

	if (w->req->rules->server_version < SERVER_RETURNING_OLD ||
	    (!old && strcmp(name, "new") != 0))
		return NULL;
	for (; level != NULL; level = level->up) {
		if (old ? level->has_old : level->has_new)
			return NULL;
		if (level->target != NULL)
			return level->target;
	}
	return NULL;
}

static void add_returned(struct walk *w, enum column_kind kind,
			 const struct item *item, const struct ref *ref)
{
	size_t n = w->found->n_columns;

	add_column(w, kind, item, ref);
	if (w->found->n_columns > n)
		w->found->columns[n].returned = true;
}

static bool is_system_column(const char *name)
{
	static const char *const names[] = {
	    "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static const struct ref *find_alias(const struct level *level,
				    const char *alias)
{
	for (; level != NULL; level = level->up)
		for (const struct ref *r = level->refs; r != NULL; r = r->next)
			if (strcmp(ref_alias(r), alias) == 0)
				return r;
	return NULL;
}

/* A relation without an alias can also be called schema.relation. */
static const struct ref *find_qualified(const struct walk *w,
					const struct level *level,
					const char *schema,
					const char *relation)
{
	for (; level != NULL; level = level->up)
		for (const struct ref *r = level->refs; r != NULL; r = r->next)
			if (r->var->alias == NULL &&
			    strcmp(r->var->relname, relation) == 0 &&
			    strcmp(w->req->rules->names[r->name].schema,
				   schema) == 0)
				return r;
	return NULL;
}

/* The relation that an unqualified system column could be of: one of the
 * innermost level that has any relation. */
static const struct ref *find_system(const struct level *level)
{
	while (level != NULL && !level->has_relation)
		level = level->up;
	return level != NULL ? level->refs : NULL;
}

static const char *field(const ColumnRef *c, int i)
{
	const Node *node = list_nth(c->fields, i);

	return IsA(node, String) ? strVal(node) : NULL; /* NULL: a star */
}

/* OLD, OLD.* or OLD.column. */
static void visit_returned(struct walk *w, const struct item *item,
			   const char *relation, const char *last)
{
	const struct ref *ref = find_returned(w, item->level, relation);

	if (ref == NULL)
		return;
	if (list_length(((const ColumnRef *)item->node)->fields) == 1)
		add_returned(w, COLUMN_WHOLE_ROW, item, ref);
	else if (last == NULL)
		add_returned(w, COLUMN_STAR, item, ref);
	else
		add_returned(
		    w, is_system_column(last) ? COLUMN_SYSTEM : COLUMN_RETURNED,
		    item, ref);
}

static void visit_column(struct walk *w, const struct item *item)
{
	const ColumnRef *c = (const ColumnRef *)item->node;
	int n = list_length(c->fields);
	const char *last = field(c, n - 1), *relation;
	const struct ref *ref;

	if (item->level == NULL)
		return;
	if (n == 1) {
		if (last == NULL)
			return;
		ref = find_alias(item->level, last);
		if (ref != NULL)
			add_column(w, COLUMN_WHOLE_ROW, item, ref);
		else
			visit_returned(w, item, last, NULL);
		ref = is_system_column(last) ? find_system(item->level) : NULL;
		if (ref != NULL)
			add_column(w, COLUMN_SYSTEM, item, ref);
		return;
	}
	relation = field(c, n - 2);
	if (relation == NULL)
		return;
	ref = n == 2
		  ? find_alias(item->level, relation)
		  : find_qualified(w, item->level, field(c, n - 3), relation);
	if (ref == NULL) {
		if (n == 2)
			visit_returned(w, item, relation, last);
		return;
	}
	if (n > 2)
		add_column(w, COLUMN_QUALIFIED, item, ref);
	if (last == NULL)
		add_column(w, COLUMN_STAR, item, ref);
	else if (is_system_column(last))
		add_column(w, COLUMN_SYSTEM, item, ref);
}

static void add_scope(struct walk *w, const Node *statement,
		      const struct level *level)
{
	const struct level *with_refs = level;

	while (with_refs != NULL && with_refs->refs == NULL)
		with_refs = with_refs->up;
	if (with_refs != NULL && w->found->n_scopes < WALK_MAX_REFS)
		w->found->scopes[w->found->n_scopes++] = (struct scope_found){
		    .statement = statement, .level = level};
}

static void visit_select(struct walk *w, const struct item *item)
{
	const SelectStmt *s = (const SelectStmt *)item->node;
	struct level *level = new_level(w, item);
	struct item inner = *item;

	if (s->lockingClause != NIL)
		inner.flags |= IN_LOCKING;
	inner.scope = push_with(w, item, s->withClause);
	add_from(w, &inner, level, s->fromClause);
	inner.level = level;
	level->grouped = s->groupClause != NIL ? s : NULL;
	add_scope(w, item->node, level);
	if (s->groupClause != NIL && level->refs != NULL)
		w->found->groups[w->found->n_groups++] =
		    (struct grouping){.select = s, .level = level};
	w->current = inner;
	push_children(w, item->node);
}

static void add_target(struct walk *w, const struct item *item,
		       struct level *level, const RangeVar *var, enum use use)
{
	int name = walk_match(w->req, var);
	struct ref *ref;

	level->has_relation = true;
	note_alias(level, (const Node *)var);
	if (name < 0) {
		add_other(level, (const Node *)var);
		return;
	}
	if (use == USE_WRITE && (item->flags & NESTED))
		use = USE_CTE_WRITE;
	ref = add_ref(w, level, name, var, use);
	if (ref == NULL)
		return;
	ref->is_target = true;
	level->target = ref;
	ref->write = item->node;
	ref->cte = item->cte;
	if (item->cte != NULL)
		ref->number = ++w->found->n_with_writes;
}

static void visit_insert(struct walk *w, const struct item *item)
{
	const InsertStmt *s = (const InsertStmt *)item->node;
	struct level *level = new_level(w, item);
	struct item inner = *item;

	inner.scope = push_with(w, item, s->withClause);
	add_target(w, item, level, s->relation, USE_WRITE);
	w->current = inner;
	push_child(s->selectStmt, w);
	w->current.level = level;
	push_child((Node *)s->onConflictClause, w);
	push_list(w, s->returningList);
}

static void visit_update(struct walk *w, const struct item *item)
{
	const UpdateStmt *s = (const UpdateStmt *)item->node;
	struct level *level = new_level(w, item);
	struct item inner = *item;

	inner.scope = push_with(w, item, s->withClause);
	add_target(w, item, level, s->relation, USE_WRITE);
	add_from(w, &inner, level, s->fromClause);
	add_scope(w, item->node, level);
	inner.level = level;
	w->current = inner;
	push_list(w, s->targetList);
	push_list(w, s->fromClause);
	push_child(s->whereClause, w);
	push_list(w, s->returningList);
}

static void visit_delete(struct walk *w, const struct item *item)
{
	const DeleteStmt *s = (const DeleteStmt *)item->node;
	struct level *level = new_level(w, item);
	struct item inner = *item;

	inner.scope = push_with(w, item, s->withClause);
	add_target(w, item, level, s->relation, USE_WRITE);
	add_from(w, &inner, level, s->usingClause);
	add_scope(w, item->node, level);
	inner.level = level;
	w->current = inner;
	push_list(w, s->usingClause);
	push_child(s->whereClause, w);
	push_list(w, s->returningList);
}

static void visit_merge(struct walk *w, const struct item *item)
{
	const MergeStmt *s = (const MergeStmt *)item->node;
	struct level *level = new_level(w, item);
	struct item inner = *item;

	inner.scope = push_with(w, item, s->withClause);
	add_target(w, item, level, s->relation, USE_MERGE);
	add_from_item(w, &inner, level, s->sourceRelation);
	inner.level = level;
	w->current = inner;
	push_child(s->sourceRelation, w);
	push_child(s->joinCondition, w);
	push_list(w, s->mergeWhenClauses);
}

/* (a, b) = SOURCE: the one source hangs on the node of each column. */
static void visit_multi_assign(struct walk *w, const struct item *item)
{
	const MultiAssignRef *ref = (const MultiAssignRef *)item->node;

	w->current = *item;
	if (ref->colno == 1)
		push_child(ref->source, w);
}

/* A type's name is looked up as a relation's. */
static void visit_cast(struct walk *w, const struct item *item)
{
	const TypeName *type = ((const TypeCast *)item->node)->typeName;
	int n = list_length(type->names), name;
	RangeVar var = {.type = T_RangeVar};

	w->current = *item;
	push_children(w, item->node);
	if (n == 0 || n > 2)
		return;
	var.relname = strVal(llast(type->names));
	var.schemaname = n == 2 ? strVal(linitial(type->names)) : NULL;
	name = walk_match(w->req, &var);
	if (name < 0)
		return;
	w->found->has_type_of = true;
	w->found->type_of = (unsigned)name;
}

static void add_text(struct walk *w, const FuncCall *call, const A_Const *value)
{
	const char *text = value->val.sval.sval;
	struct text_use *use;

	if (!ruleset_mentions(w->req->rules, text, strlen(text)))
		return;
	use = arena_alloc(w->a, sizeof(*use));
	*use = (struct text_use){.call = call,
				 .text = text,
				 .location = value->location,
				 .next = w->found->texts};
	w->found->texts = use;
}

static void visit_call(struct walk *w, const struct item *item)
{
	const FuncCall *call = (const FuncCall *)item->node;
	ListCell *cell;

	w->current = *item;
	push_children(w, item->node);
	foreach (cell, call->args) {
		const Node *arg = lfirst(cell);

		if (IsA(arg, NamedArgExpr))
			arg = (const Node *)((const NamedArgExpr *)arg)->arg;
		if (IsA(arg, TypeCast))
			arg = ((const TypeCast *)arg)->arg;
		if (IsA(arg, A_Const) && !((const A_Const *)arg)->isnull &&
		    IsA(&((const A_Const *)arg)->val, String))
			add_text(w, call, (const A_Const *)arg);
	}
}

/* One element at a time, so that a million rows need no stack. */
static void visit_list(struct walk *w, const struct item *item)
{
	const List *list = (const List *)item->node;
	struct item rest = *item;

	while (rest.next < list_length(list)) {
		Node *node = list_nth(list, rest.next++);

		if (!is_walked(node))
			continue;
		push_item(w, &rest);
		w->current = *item;
		push_child(node, w);
		return;
	}
}

static const visit_fn visitors[TAGS] = {
    [T_SelectStmt] = visit_select, [T_InsertStmt] = visit_insert,
    [T_UpdateStmt] = visit_update, [T_DeleteStmt] = visit_delete,
    [T_MergeStmt] = visit_merge,   [T_ColumnRef] = visit_column,
    [T_TypeCast] = visit_cast,	   [T_MultiAssignRef] = visit_multi_assign,
    [T_List] = visit_list,	   [T_FuncCall] = visit_call,
};

void walk_statement(const struct rewrite_request *req, Node *statement,
		    bool nested, struct arena *a, struct found *ret)
{
	struct walk w = {.req = req, .a = a, .found = ret};
	struct item item = {.node = statement, .flags = nested ? NESTED : 0};

	*ret = (struct found){0};
	if (is_walked(statement))
		push_item(&w, &item);
	while (w.depth > 0 && !ret->over) {
		item = w.stack[--w.depth];
		if (visitors[nodeTag(item.node)] != NULL) {
			visitors[nodeTag(item.node)](&w, &item);
			continue;
		}
		w.current = item;
		push_children(&w, item.node);
	}
}
