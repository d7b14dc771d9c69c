/* Several tokens that end a response: read from both configurations, kept in order, and each of them stops the sampler.
 */
#include "../model/base/file.h"
#include "../model/base/json.h"
#include "../model/checkpoint.h"
#include "model_batch.h" /* last: cmocka has a macro fail */

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_ends.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return file_remove_directory(folder, NULL);
}

static void put(const char *name, const char *text)
{
    char path[128];
    struct error e = {""};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (file_write(path, text, strlen(text), &e))
        fail_msg("%s", e.text);
}

/* config.json of a small Llama with this "eos_token_id". */
static int ends_of(const char *eos, struct token_ids *t, struct error *e)
{
    char text[512];
    struct arch a;
    snprintf(text, sizeof text,
             "{\"model_type\":\"llama\",\"vocab_size\":50,\"hidden_size\":16,\"intermediate_size\":24,"
             "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"eos_token_id\":%s}",
             eos);
    put("config.json", text);
    return checkpoint_arch(folder, &a, t, e);
}

static void expect_ends(const char *eos, const char *want)
{
    struct token_ids t;
    struct error e = {""};
    char said[128] = "";
    if (ends_of(eos, &t, &e))
        fail_msg("%s: %s", eos, e.text);
    for (int i = 0; i < t.ends; i++)
        snprintf(said + strlen(said), sizeof said - strlen(said), "%s%d", i ? "," : "", t.end[i]);
    assert_string_equal(said, want);
}

static void test_files(void **state)
{
    (void)state;
    char path[128];
    struct token_ids t;
    struct error e = {""};
    expect_ends("7", "7");
    expect_ends("null", "");
    expect_ends("[]", "");
    expect_ends("[7,9,7,1000,-3,8]", "7,9,8"); /* ids that are no tokens can never be drawn */
    put("generation_config.json", "{\"eos_token_id\":[3,9,4],\"temperature\":0.6}");
    expect_ends("9", "9,3,4");
    put("generation_config.json", "{}");
    expect_ends("9", "9");
    static const char *const bad[] = {"{\"eos_token_id\":[3,null]}", "{\"eos_token_id\":\"3\"}", "[]", "{",
                                      "{\"eos_token_id\":[1,2,3,4,5,6,7,8,10]}"};
    for (int i = 0; i < 5; i++) {
        put("generation_config.json", bad[i]);
        assert_int_equal(ends_of("1", &t, &e), -1);
        assert_non_null(strstr(e.text, "generation_config.json"));
    }
    snprintf(path, sizeof path, "%s/generation_config.json", folder);
    unlink(path);
    assert_int_equal(ends_of("[1,2,3,4,5,6,7,8,10]", &t, &e), -1);
    assert_non_null(strstr(e.text, "more than 8"));
}

static void test_order(void **state)
{
    (void)state;
    struct error e;
    struct token_ids t = token_ids_none();
    for (int i = 0; i < 3; i++)
        assert_int_equal(token_ids_end(&t, i, 1, &e), 0);
    assert_int_equal(token_ids_end(&t, 1, 1, &e), 0); /* 2 1 0 becomes 1 2 0 */
    assert_int_equal(token_ids_end(&t, 0, 0, &e), 0);
    assert_true(t.ends == 3 && t.end[0] == 1 && t.end[1] == 2 && t.end[2] == 0);
}

enum { NEW = 60, EACH = 12 };
struct answers {
    int32_t ids[EACH][NEW];
    double logp[EACH][NEW], entropy[EACH][NEW];
    struct response out[EACH];
};

static void answer(struct rig *r, struct answers *a, const int32_t *end, int ends)
{
    static const int32_t prompt[3] = {1, 2, 3};
    const struct sampling how = {5, 0, 1, 0, 0}; /* hot, so that every token comes */
    struct request q = {prompt, 3, EACH, NEW, 0, 0, 0};
    struct sampler s;
    struct error e = {""};
    for (int i = 0; i < EACH; i++)
        a->out[i] = (struct response){.ids = a->ids[i], .logp = a->logp[i], .entropy = a->entropy[i]};
    sampler_plan(&s, &r->model.arch, &r->dev, 5, 3, NEW, 0);
    sampler_commit(&s);
    if (sampler_run(&s, &r->model, &q, 1, &how, 7, RNG_SAMPLE, end, ends, a->out, &e))
        fail_msg("%s", e.text);
    sampler_free(&s);
}

/* Tokens are drawn alike whatever ends a response, so with ends it is the longer one cut behind the first of them. */
static void test_sampler(void **state)
{
    (void)state;
    struct arch small = preset_find("nano-llama")->arch;
    static struct answers whole, cut;
    static const int32_t end[3] = {4, 19, 11};
    int by_end[3] = {0};
    struct rig r;
    small.V = 23;
    rig_open(&r, &cpu_ops, &small, 1, ROWS);
    answer(&r, &whole, NULL, 0);
    answer(&r, &cut, end, 3);
    for (int i = 0; i < EACH; i++) {
        int len = 0, ended = 0;
        assert_true(whole.out[i].len == NEW && whole.out[i].truncated);
        while (len < NEW && !ended) {
            for (int k = 0; k < 3; k++)
                if (whole.ids[i][len] == end[k]) {
                    ended = 1;
                    by_end[k]++;
                }
            len++;
        }
        assert_int_equal(cut.out[i].len, len);
        assert_int_equal(cut.out[i].truncated, !ended);
        assert_memory_equal(cut.ids[i], whole.ids[i], (size_t)len * sizeof(int32_t));
    }
    for (int k = 0; k < 3; k++)
        assert_true(by_end[k] > 0);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_sampler),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
