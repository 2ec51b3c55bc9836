#include "proto/frame.h"

#define LENGTH_SIZE 4 /* the length field counts itself, not the type */
#define HEADER_SIZE 5

static uint32_t load_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

enum frame_result frame_peek(const uint8_t *data, size_t len, struct frame *ret)
{
	uint32_t length;

	if (len < HEADER_SIZE)
		return FRAME_MORE;
	length = load_u32(data + 1);
	if (length < LENGTH_SIZE || length - LENGTH_SIZE > FRAME_BODY_MAX)
		return FRAME_BAD;
	*ret = (struct frame){
	    .type = (char)data[0],
	    .size = length + 1,
	    .body = data + HEADER_SIZE,
	    .body_len = length - LENGTH_SIZE,
	};
	return FRAME_OK;
}

enum frame_result frame_next(const uint8_t *data, size_t len, uint32_t max_body,
			     struct frame *ret)
{
	struct frame f;
	enum frame_result res = frame_peek(data, len, &f);

	if (res != FRAME_OK)
		return res;
	/* Before waiting for it: a body over the limit never gets a buffer. */
	if (f.body_len > max_body)
		return FRAME_BAD;
	if (len < f.size)
		return FRAME_MORE;
	*ret = f;
	return FRAME_OK;
}

enum frame_result frame_next_startup(const uint8_t *data, size_t len,
				     struct frame *ret)
{
	uint32_t length;

	if (len < LENGTH_SIZE)
		return FRAME_MORE;
	length = load_u32(data);
	if (length < LENGTH_SIZE + FRAME_STARTUP_BODY_MIN ||
	    length > LENGTH_SIZE + FRAME_STARTUP_BODY_MAX)
		return FRAME_BAD;
	if (len < length)
		return FRAME_MORE;
	*ret = (struct frame){
	    .type = 0,
	    .size = length,
	    .body = data + LENGTH_SIZE,
	    .body_len = length - LENGTH_SIZE,
	};
	return FRAME_OK;
}
