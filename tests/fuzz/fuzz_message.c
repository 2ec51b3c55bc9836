/*
 * Oracle: a body that is decoded and written again is the same, and columns
 * cut off a row leave a row (tests/unit/again.c).  The first byte of an input
 * chooses the decoder.
 */
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <string.h>

#include "tests/unit/again.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct again *a = size > 0 ? again_find((char)data[0]) : NULL;
	struct frame f = {.type = '?', .body = data + 1};
	struct buf out;

	if (!a)
		return 0;
	f.body_len = (uint32_t)size - 1;
	f.size = f.body_len + 5;
	buf_init(&out, 0);
	if (a->run(&f, &out)) {
		size_t header = buf_len(&out) - f.body_len;

		assert(!out.failed);
		assert(header == (a->key == '0' ? 4 : 5));
		assert(!memcmp(buf_bytes(&out) + header, f.body, f.body_len));
	}
	buf_free(&out);
	return 0;
}
