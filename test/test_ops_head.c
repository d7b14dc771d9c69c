/* The head in blocks of the vocabulary: the same bits as from whole rows of logits, for training and the sampler. */
#include "ops_tools.h"

/* The logits of ids first .. first+ids of all rows. */
static Dev window_of(struct context *c, Dev logits, int R, int V, int first, int ids)
{
    Dev x = tensor(c, (size_t)R * ids);
    for (int r = 0; r < R; r++)
        memcpy(floats(x) + (size_t)r * ids, floats(logits) + (size_t)r * V + first, (size_t)ids * sizeof(float));
    return x;
}

static void blocks_of_vocabulary(struct context *c, int V, int supported)
{
    enum { R = 13, KEEP = 40 };
    int32_t target[R], kept[R * KEEP], count[R];
    double temperature[R];
    int block = CALL_PURE(c, head_ids, V);
    assert_true(block < V);
    for (int r = 0; r < R; r++) {
        target[r] = r == 0 ? 0 : r == 1 ? V - 1 : r == 2 ? block : below(31, (uint64_t)r, V);
        temperature[r] = r % 3 ? 1 : 0.7;
        count[r] = supported ? r % 4 * 10 : 0; /* 0: all */
        for (int i = 0; i < KEEP; i++)
            kept[r * KEEP + i] = (target[r] + i * 311) % V;
    }
    Dev logits = tensor_random(c, (size_t)R * V, 32), glogp = tensor_random(c, R, 33),
        gentropy = tensor_random(c, R, 34);
    for (size_t i = 0; i < (size_t)R * V; i++) {
        size_t r = i / (size_t)V, id = i % (size_t)V;
        floats(logits)[i] *= 9;
        if (r == 3 && id < (size_t)block)
            floats(logits)[i] = -INFINITY; /* nothing possible in the first block, ... */
        if (r == 4 && id >= (size_t)block && id < 2 * (size_t)block)
            floats(logits)[i] = -INFINITY; /* ... or in another */
        if (r == 5 && id >= (size_t)block)
            floats(logits)[i] -= 2000;
    }
    struct entries e = {R, ints(c, target, R), tensor_from(c, temperature, R), {NULL}, {NULL}, 0};
    if (supported) {
        e.support = ints(c, kept, R * KEEP);
        e.supports = ints(c, count, R);
        e.max_support = KEEP;
    }
    reserve(c, SCRATCH_HEAD, (struct scratch_shape){.rows = R, .N = V, .K = 1});
    Dev logp = tensor(c, R), entropy = tensor(c, R), stat = tensor(c, 4 * R), g = tensor(c, (size_t)R * V);
    Dev logp2 = tensor(c, R), entropy2 = tensor(c, R), stat2 = tensor(c, 4 * R);
    CALL(c, logp_forward, logp, entropy, stat, logits, &e, 0, V, V);
    CALL(c, logp_backward, g, logits, stat, &e, glogp, gentropy, 0, V, V);
    for (int first = 0; first < V; first += block) {
        int ids = V - first < block ? V - first : block;
        Dev x = window_of(c, logits, R, V, first, ids);
        if (!supported)
            CALL(c, logp_forward, logp2, entropy2, stat2, x, &e, first, ids, V);
        CALL(c, logp_backward, x, x, stat, &e, glogp, gentropy, first, ids, V);
        same_bits(floats(window_of(c, g, R, V, first, ids)), floats(x), (size_t)R * ids, "gradient of a block");
        for (int k = 0; k < 2; k++)
            CALL(c, release, c->block[--c->blocks].base);
    }
    if (!supported) {
        same_bits(floats(logp), floats(logp2), R, "logp of blocks");
        same_bits(floats(entropy), floats(entropy2), R, "entropy of blocks");
        same_bits(floats(stat), floats(stat2), 4 * R, "what the gradient reads");
    }
    if (supported || V > 10 * block) {
        release_all(c);
        return;
    }
    const struct sampling how = {1, 0, 1, 0, 0}; /* and the sampler */
    int32_t zero[R] = {0}, word[2 * R];
    for (int i = 0; i < 2 * R; i++)
        word[i] = (int32_t)mix(35, (uint64_t)i);
    for (int r = 0; r < R; r++)
        temperature[r] = 1;
    reserve(c, SCRATCH_SAMPLE, (struct scratch_shape){.rows = R, .N = V, .K = 1});
    DevInt none = {NULL};
    e.target = ints(c, zero, R);
    e.temperature = tensor_from(c, temperature, R);
    struct drawn to = {e.target, none, logp, entropy, none, none};
    CALL(c, sample, &to, logits, ints(c, word, 2 * R), R, V, &how);
    for (int first = 0; first < V; first += block) {
        int ids = V - first < block ? V - first : block;
        CALL(c, logp_forward, logp2, entropy2, stat2, window_of(c, logits, R, V, first, ids), &e, first, ids, V);
        CALL(c, release, c->block[--c->blocks].base);
    }
    same_bits(floats(logp), floats(logp2), R, "logp of the sampled token, in blocks");
    same_bits(floats(entropy), floats(entropy2), R, "entropy, in blocks");
    release_all(c);
}

static void test_blocks_of_vocabulary(void **state)
{
    struct suite *s = *state;
    for (int k = CPU1; k < CONTEXTS; k++)
        for (int supported = 0; supported < 2; supported++) {
            blocks_of_vocabulary(&s->c[k], 2049, supported);
            blocks_of_vocabulary(&s->c[k], 7001, supported);
            if (k == CPU2)
                blocks_of_vocabulary(&s->c[k], 50257, supported);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_blocks_of_vocabulary)};
    return cmocka_run_group_tests_name("the head in blocks", tests, suite_open, suite_close);
}
