/* Counter-based random numbers: every draw is a pure function of (seed, purpose, step, prompt, sample, position),
 * so results do not depend on batch size, slots, threads, order or resume.
 *
 * Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011).
 */
#ifndef RNG_H
#define RNG_H
#include <stdint.h>

enum rng_purpose { RNG_INIT = 1, RNG_SAMPLE, RNG_TASK, RNG_TEACHER, RNG_SHUFFLE, RNG_NOISE, RNG_EVAL, RNG_TEST };

struct rng { /* one stream: draws are numbered by position */
    uint32_t key[2];
};

/* out = Philox4x32-10 of the counter under the key; checked against the published vectors. */
void philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

struct rng rng_stream(uint64_t seed, enum rng_purpose purpose, uint64_t step, uint64_t prompt, uint32_t sample);
uint64_t rng_bits(struct rng r, uint64_t position);    /* 64 random bits */
double rng_uniform(struct rng r, uint64_t position);   /* [0, 1), 53 bits */
double rng_normal(struct rng r, uint64_t position);    /* standard normal: Box-Muller, log and cos of the C library */
int rng_below(struct rng r, uint64_t position, int n); /* 0..n-1, n >= 1, without modulo bias worth speaking of */

/* 64-bit mixing of bytes: splits of tasks, noise that is a function of text. Stable for ever. */
uint64_t hash_bytes(const void *p, int len, uint64_t seed);

#endif
