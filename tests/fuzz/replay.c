/*
 * A main() for a fuzz target where there is no libFuzzer: gives it every file
 * named as an argument and every file of a folder so named, and prints TAP.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proto/buf.h"

static int test_count;

/* A copy of exactly the file's size, so that reading past it is found. */
static void run_exact(const struct buf *file)
{
	size_t len = buf_len(file);
	uint8_t *copy = malloc(len > 0 ? len : 1);

	if (!copy)
		abort();
	for (size_t i = 0; i < len; i++)
		copy[i] = buf_bytes(file)[i];
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static void replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct buf file;
	int c;

	test_count++;
	if (!f) {
		printf("not ok %d - %s\n", test_count, path);
		return;
	}
	buf_init(&file, 0);
	while ((c = getc(f)) != EOF)
		buf_put_u8(&file, (uint8_t)c);
	fclose(f);
	/* Said first: the oracle aborts. */
	printf("# %s\n", path);
	fflush(stdout);
	run_exact(&file);
	printf("ok %d - %s\n", test_count, path);
	buf_free(&file);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void replay_folder(const char *path)
{
	struct dirent **entries;
	int n = scandir(path, &entries, is_visible, alphasort);

	for (int i = 0; i < n; i++) {
		struct buf name;

		buf_init(&name, 0);
		buf_put_fmt(&name, "%s/%s", path, entries[i]->d_name);
		buf_put_u8(&name, 0);
		replay_file((const char *)buf_bytes(&name));
		buf_free(&name);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

int main(int argc, char **argv)
{
	struct stat st;

	for (int i = 1; i < argc; i++) {
		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			replay_folder(argv[i]);
		else
			replay_file(argv[i]);
	}
	printf("1..%d\n", test_count);
	return test_count == 0;
}
