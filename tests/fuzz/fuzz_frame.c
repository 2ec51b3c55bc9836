/* Oracle: a stream in pieces gives the messages that it gives as a whole, and
 * the same verdict on what is left.  The first byte is the pieces' size. */
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <string.h>

#include "proto/buf.h"
#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *at = data + 1, *whole = data + 1, *end = data + size;
	size_t step;
	enum frame_result res = FRAME_MORE;
	struct frame f, want;
	struct buf in;

	if (size == 0)
		return 0;
	step = 1 + data[0] % 32;
	buf_init(&in, 0);
	for (; at < end && res != FRAME_BAD; at += step) {
		step = step < (size_t)(end - at) ? step : (size_t)(end - at);
		buf_put(&in, at, step);
		while ((res = frame_next(buf_bytes(&in), buf_len(&in), 4096,
					 &f)) == FRAME_OK) {
			assert(frame_next(whole, (size_t)(end - whole), 4096,
					  &want) == FRAME_OK);
			assert(want.type == f.type && want.size == f.size);
			assert(!memcmp(whole, buf_bytes(&in), f.size));
			buf_drain(&in, f.size);
			whole += f.size;
		}
	}
	assert(res == frame_next(whole, (size_t)(end - whole), 4096, &want));
	buf_free(&in);
	return 0;
}
