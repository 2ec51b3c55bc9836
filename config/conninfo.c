#include "config/conninfo.h"

#include <stdbool.h>
#include <string.h>

struct option {
	const char *key, *value;   /* into the string; not terminated */
	size_t key_len, value_len; /* value: with its quotes */
};

static const char blanks[] = " \t\n\r\f\v";

/* Stops behind the value; NULL if a quote is not closed. */
static const char *skip_value(const char *s)
{
	bool quoted = *s == '\'';

	s += quoted;
	for (; *s != '\0'; s++) {
		if (quoted ? *s == '\'' : strchr(blanks, *s) != NULL)
			return s + quoted;
		if (*s == '\\' && s[1] != '\0')
			s++;
	}
	return quoted ? NULL : s;
}

/* Reads the next option and moves on; false at the end or at an error, which
 * then is in `ret_wrong`. */
static bool next_option(const char **s, struct option *ret,
			const char **ret_wrong)
{
	const char *c = *s + strspn(*s, blanks), *end;
	size_t len = strcspn(c, " \t\n\r\f\v=");

	*ret_wrong = NULL;
	if (*c == '\0')
		return false;
	ret->key = c;
	ret->key_len = len;
	c += len;
	c += strspn(c, blanks);
	if (*c != '=' || len == 0) {
		*ret_wrong = "is not a libpq connection string; expected "
			     "key=value pairs";
		return false;
	}
	c++;
	c += strspn(c, blanks);
	end = skip_value(c);
	if (end == NULL) {
		*ret_wrong = "has a quote (') that is not closed";
		return false;
	}
	ret->value = c;
	ret->value_len = (size_t)(end - c);
	*s = end;
	return true;
}

static bool key_is(const struct option *o, const char *key)
{
	return strlen(key) == o->key_len &&
	       memcmp(key, o->key, o->key_len) == 0;
}

const char *conninfo_check(const char *conninfo, struct arena *a)
{
	static const struct {
		const char *key, *from;
	} taken[] = {
	    {"host", "server.host"},
	    {"hostaddr", "server.host"},
	    {"port", "server.port"},
	    {"dbname", "each migration's database"},
	    {"service", "server.host and server.port"},
	};
	const char *wrong;
	struct option o;

	if (strncmp(conninfo, "postgres://", 11) == 0 ||
	    strncmp(conninfo, "postgresql://", 13) == 0)
		return "is a URI; expected key=value pairs, such as "
		       "user=pgtandem";
	while (next_option(&conninfo, &o, &wrong)) {
		for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
			if (key_is(&o, taken[i].key))
				return arena_fmt(a,
						 "must not contain %s; it "
						 "comes from %s",
						 taken[i].key, taken[i].from);
		}
	}
	return wrong;
}

const char *conninfo_mask(const char *conninfo, struct arena *a)
{
	const char *text = "", *wrong;
	struct option o;

	while (next_option(&conninfo, &o, &wrong)) {
		bool secret =
		    key_is(&o, "password") || key_is(&o, "sslpassword");

		text = arena_fmt(a, "%s%s%.*s=%.*s", text, text[0] ? " " : "",
				 (int)o.key_len, o.key,
				 secret ? 3 : (int)o.value_len,
				 secret ? "***" : o.value);
	}
	return text;
}
