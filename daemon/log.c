#include "daemon/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINE = 4096 };

static const char *const level_names[] = {
    [LOG_ERROR] = "error",
    [LOG_WARN] = "warning",
    [LOG_INFO] = "info",
    [LOG_DEBUG] = "debug",
};

/* The logger's only state; before log_setup it is text at level info. */
static atomic_int log_level = LOG_INFO;
static atomic_int log_format = LOG_TEXT;

void log_setup(enum log_level level, enum log_format format)
{
	atomic_store(&log_level, (int)level);
	atomic_store(&log_format, (int)format);
}

enum log_level log_current_level(void)
{
	return (enum log_level)atomic_load_explicit(&log_level,
						    memory_order_relaxed);
}

/* RFC 3339 in UTC, to the millisecond. */
static void log_time(char *ret, size_t size)
{
	struct timespec ts;
	struct tm tm;
	char date[32];

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret, size, "%s.%03ldZ", date, ts.tv_nsec / 1000000);
}

/* Control bytes become spaces: one event stays one line whatever a peer put
 * into a name. */
static void log_flatten(char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = ' ';
}

static size_t log_json_string(char *ret, size_t size, const char *s)
{
	size_t n = 0;

	for (; *s != '\0' && n + 3 < size; s++) {
		if (*s == '"' || *s == '\\')
			ret[n++] = '\\';
		ret[n++] = *s;
	}
	ret[n] = '\0';
	return n;
}

__attribute__((format(printf, 2, 0))) static void
log_line(enum log_level level, const char *fmt, va_list ap)
{
	char at[48], text[LOG_LINE / 2], line[LOG_LINE + 256];
	char quoted[LOG_LINE];
	int n;

	log_time(at, sizeof(at));
	vsnprintf(text, sizeof(text), fmt, ap);
	log_flatten(text);
	if (atomic_load_explicit(&log_format, memory_order_relaxed) ==
	    LOG_JSON) {
		log_json_string(quoted, sizeof(quoted), text);
		n = snprintf(line, sizeof(line),
			     "{\"time\":\"%s\",\"level\":\"%s\","
			     "\"message\":\"%s\"}\n",
			     at, level_names[level], quoted);
	} else {
		n = snprintf(line, sizeof(line), "%s %s: %s\n", at,
			     level_names[level], text);
	}
	/* One write per line, so that lines of several threads do not mix;
	 * there is nobody to tell if standard error is gone. */
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

#define LOG_FUNCTION(name, level) \
	void name(const char *fmt, ...) \
	{ \
		va_list ap; \
\
		if (log_current_level() < level) \
			return; \
		va_start(ap, fmt); \
		log_line(level, fmt, ap); \
		va_end(ap); \
	}

LOG_FUNCTION(log_error, LOG_ERROR)
LOG_FUNCTION(log_warn, LOG_WARN)
LOG_FUNCTION(log_info, LOG_INFO)
LOG_FUNCTION(log_debug, LOG_DEBUG)
