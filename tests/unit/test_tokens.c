#include "rewrite/text/tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The tokens of a text, one letter each for their kinds, and "|" between
 * their texts. */
static void check_tokens(const char *sql, const char *kinds, const char *texts)
{
	static const char letters[] = "?.nquslpoX";
	char got_kinds[64] = "", got_texts[256] = "";
	struct lexer s;
	struct token t;

	lexer_start(&s, sql, strlen(sql));
	for (lexer_next(&s, &t); t.kind != TOKEN_END; lexer_next(&s, &t)) {
		strncat(got_kinds, &letters[t.kind], 1);
		if (*got_texts != '\0')
			strcat(got_texts, "|");
		strncat(got_texts, sql + t.from, t.to - t.from);
	}
	assert_string_equal(got_kinds, kinds);
	assert_string_equal(got_texts, texts);
}

static void a_statement_is_cut_as_the_server_cuts_it(void **state)
{
	check_tokens("SELECT a.b,$1 FROM t;", "nnXnXpnnX",
		     "SELECT|a|.|b|,|$1|FROM|t|;");
	check_tokens("\"a\"\"b\".U&\"d\\0061\"", "qXu",
		     "\"a\"\"b\"|.|U&\"d\\0061\"");
	check_tokens("1.5e-3 .5 1..2 1e x$y", "lllXllnn",
		     "1.5e-3|.5|1|..|2|1|e|x$y");
	check_tokens("a::int[1]", "nXnXlX", "a|::|int|[|1|]");
}

static void strings_of_every_kind_end_where_they_end(void **state)
{
	check_tokens("'a''b' E'a\\'b' B'1' x'F' N'x' U&'a'", "ssssss",
		     "'a''b'|E'a\\'b'|B'1'|x'F'|N'x'|U&'a'");
	check_tokens("'a'\n 'b' 'c' 'd'", "sss", "'a'\n 'b'|'c'|'d'");
	check_tokens("$$a'$b$$ $t$ $$ $t$ $t", "ssXn",
		     "$$a'$b$$|$t$ $$ $t$|$|t");
	check_tokens("'a\\' b", "sn", "'a\\'|b");
}

static void comments_are_no_tokens(void **state)
{
	check_tokens("a -- b\nc /* d /* e */ f */ g", "nnn", "a|c|g");
	check_tokens("1+--x\n2 a/*b*/c", "lolnn", "1|+|2|a|c");
}

static void operators_are_cut_as_the_server_cuts_them(void **state)
{
	check_tokens("a=-1", "nool", "a|=|-|1");
	check_tokens("a @-b <> c>=-d", "nononoon", "a|@-|b|<>|c|>=|-|d");
	check_tokens("a*b", "non", "a|*|b");
}

static void what_has_no_end_goes_to_the_end(void **state)
{
	static const char *const texts[] = {
	    "'a", "\"a", "/* a", "$x$ a", "E'a\\", "U&\"a", "'a'\n'b",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct lexer s;
		struct token t;

		lexer_start(&s, texts[i], strlen(texts[i]));
		do
			lexer_next(&s, &t);
		while (t.kind != TOKEN_END);
		assert_true(s.unterminated);
		assert_int_equal(s.at, strlen(texts[i]));
	}
}

static void any_bytes_are_cut_without_gaps_backwards(void **state)
{
	struct lexer s;
	struct token t;
	char bytes[256];
	uint32_t end = 0;

	for (unsigned i = 0; i < 256; i++)
		bytes[i] = (char)(i * 167 + 13);
	lexer_start(&s, bytes, sizeof(bytes));
	for (lexer_next(&s, &t); t.kind != TOKEN_END; lexer_next(&s, &t)) {
		assert_true(t.from >= end && t.to > t.from);
		end = t.to;
	}
	assert_true(end <= sizeof(bytes));
}

static void depth_counts_what_is_around(void **state)
{
	static const char sql[] = "a(b[c])d)e";
	static const unsigned depths[] = {0, 0, 1, 1, 2, 1, 0, 0, 0, 0};
	struct lexer s;
	struct token t;

	lexer_start(&s, sql, strlen(sql));
	for (size_t i = 0; i < sizeof(depths) / sizeof(*depths); i++) {
		lexer_next(&s, &t);
		assert_int_equal(t.depth, depths[i]);
	}
}

static void a_name_is_spelled_folded_or_quoted(void **state)
{
	static const struct {
		const char *text, *name;
		bool spells;
	} cases[] = {
	    {"Inovices", "inovices", true},
	    {"Inovices", "Inovices", false},
	    {"\"Inovices\"", "Inovices", true},
	    {"\"inovices\"", "inovices", true},
	    {"\"a\"\"b\"", "a\"b", true},
	    {"\"a\"\"b\"", "a\"\"b", false},
	    {"inovice", "inovices", false},
	    {"inovicesx", "inovices", false},
	    {"'inovices'", "inovices", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct lexer s;
		struct token t;

		lexer_start(&s, cases[i].text, strlen(cases[i].text));
		lexer_next(&s, &t);
		assert_int_equal(token_spells(cases[i].text, &t, cases[i].name),
				 cases[i].spells);
	}
}

static void a_token_is_found_by_its_place(void **state)
{
	static const char sql[] = "ab  cd ef";
	struct tokens t;
	struct arena a;

	arena_init(&a);
	tokens_scan(sql, strlen(sql), 3, &a, &t);
	assert_int_equal(t.n, 3);
	assert_int_equal(tokens_find(&t, 0), 0);
	assert_int_equal(tokens_find(&t, 1), 1);
	assert_int_equal(tokens_find(&t, 4), 1);
	assert_int_equal(tokens_find(&t, 8), 3);
	assert_true(token_is(&t, 1, "cd"));
	assert_false(token_is(&t, 3, "cd"));
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_statement_is_cut_as_the_server_cuts_it),
	    cmocka_unit_test(strings_of_every_kind_end_where_they_end),
	    cmocka_unit_test(comments_are_no_tokens),
	    cmocka_unit_test(operators_are_cut_as_the_server_cuts_them),
	    cmocka_unit_test(what_has_no_end_goes_to_the_end),
	    cmocka_unit_test(any_bytes_are_cut_without_gaps_backwards),
	    cmocka_unit_test(depth_counts_what_is_around),
	    cmocka_unit_test(a_name_is_spelled_folded_or_quoted),
	    cmocka_unit_test(a_token_is_found_by_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
