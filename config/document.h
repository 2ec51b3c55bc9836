/*
 * A YAML file as a tree of nodes that know their lines.
 *
 * Owns the reading of bytes and of YAML's syntax (libyaml), and the limits
 * that keep a hostile file cheap.  Knows nothing of what a file should say:
 * that is config/schema.h.
 *
 * Every scalar is text here, as written: `mode: off` is the text "off".
 * Aliases, anchors and tags are refused: nothing we read needs them, and an
 * alias can make a file of a kilobyte into gigabytes.
 */
#ifndef CONFIG_DOCUMENT_H
#define CONFIG_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>

#include "config/arena.h"
#include "config/problem.h"

enum {
	DOCUMENT_MAX_BYTES = 1024 * 1024,
	DOCUMENT_MAX_DEPTH = 16,
	DOCUMENT_MAX_NODES = 20000, /* duplicate keys: a square of this */
	DOCUMENT_MAX_KEY = 200,	    /* bytes */
};

enum node_kind { NODE_TEXT = 1, NODE_LIST, NODE_MAP };

struct node {
	enum node_kind kind;
	unsigned line;		   /* of its key, or its own; from 1 */
	const struct node *parent; /* NULL: the root */
	const char *key;	   /* in a map, printable; else NULL */
	unsigned index;		   /* in its parent, from 0 */
	const struct node *next;   /* in its parent */
	const struct node *first;  /* list, map */
	unsigned n;		   /* list, map: how many are in it */
	const char *text;	   /* text: UTF-8 without NUL; may be "" */
};

/* The file's bytes, in the arena, with a NUL behind them. */
bool document_load(const char *file, struct arena *a, const char **ret_text,
		   size_t *ret_len, struct problem *p)
    __attribute__((warn_unused_result));

/* The tree, in the arena; its texts are copies. `file` is for messages. */
bool document_parse(const char *file, const char *text, size_t len,
		    struct arena *a, const struct node **ret, struct problem *p)
    __attribute__((warn_unused_result));

/* The entry of a map, or NULL. */
const struct node *node_get(const struct node *map, const char *key);

/* A text as messages show it: in double quotes, on one line, cut where it is
 * long, and still UTF-8. */
const char *text_quote(const char *text, struct arena *a);

/* "listen[0].tls.mode", in the arena; "" for the root. */
const char *node_path(const struct node *n, struct arena *a);

#endif
