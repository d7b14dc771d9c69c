/* Counter-based random numbers (rng.h). There is no state: a stream is a key, a draw is a counter. */
#include "rng.h"
#include <math.h>

/* Salmon et al. 2011, section 3.3 and table 2: ten rounds, the key bumped by the Weyl constants between them. */
void philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* The five names of a stream are 288 bits, a key has 64: two Philox calls digest them, so that neighbouring
 * steps, prompts and samples get unrelated keys. */
struct rng rng_stream(uint64_t seed, enum rng_purpose purpose, uint64_t step, uint64_t prompt, uint32_t sample)
{
    uint32_t first[4], second[4];
    uint32_t seed_key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t where[4] = {(uint32_t)step, (uint32_t)(step >> 32), (uint32_t)prompt, (uint32_t)(prompt >> 32)};
    philox(first, where, seed_key);
    uint32_t which[4] = {first[0], first[1], sample, (uint32_t)purpose};
    philox(second, which, first + 2);
    return (struct rng){{second[0], second[1]}};
}

static void draw(struct rng r, uint64_t position, uint64_t bits[2])
{
    uint32_t counter[4] = {(uint32_t)position, (uint32_t)(position >> 32), 0, 0}, out[4];
    philox(out, counter, r.key);
    bits[0] = out[0] | (uint64_t)out[1] << 32;
    bits[1] = out[2] | (uint64_t)out[3] << 32;
}

uint64_t rng_bits(struct rng r, uint64_t position)
{
    uint64_t bits[2];
    draw(r, position, bits);
    return bits[0];
}

double rng_uniform(struct rng r, uint64_t position)
{
    return (double)(rng_bits(r, position) >> 11) * 0x1p-53;
}

double rng_normal(struct rng r, uint64_t position)
{
    uint64_t bits[2];
    draw(r, position, bits);
    double u = (double)((bits[0] >> 11) + 1) * 0x1p-53; /* (0, 1]: its logarithm is finite */
    double v = (double)(bits[1] >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586476925 * v);
}

/* The upper half of the 96-bit product bits x n, in two 32-bit halves: the bias is below n / 2^64. */
int rng_below(struct rng r, uint64_t position, int n)
{
    uint64_t bits = rng_bits(r, position);
    uint64_t low = (bits & 0xffffffffu) * (uint64_t)n;
    uint64_t high = (bits >> 32) * (uint64_t)n;
    return (int)((high + (low >> 32)) >> 32);
}

/* The finaliser of Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014 (variant 13). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

/* Eight bytes at a time, least significant first whatever the processor's order; the length is mixed in, so that a
 * text and the same text followed by zero bytes differ. */
uint64_t hash_bytes(const void *p, int len, uint64_t seed)
{
    const unsigned char *byte = p;
    uint64_t h = mix(seed + 0x9E3779B97F4A7C15u * ((uint64_t)len + 1));
    for (int i = 0; i < len; i += 8) {
        uint64_t word = 0;
        for (int k = 0; k < 8 && i + k < len; k++)
            word |= (uint64_t)byte[i + k] << 8 * k;
        h = mix(h ^ word) + 0x9E3779B97F4A7C15u;
    }
    return mix(h);
}
