/*
 * What a fuzz target gives to libFuzzer and to replay.c.
 *
 * A target aborts when its oracle does not hold; the returned value is 0.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
