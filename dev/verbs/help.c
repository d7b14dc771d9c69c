/* help: the command as a whole, or one verb. The texts stand in the verbs' rows.
 */
#include "verbs.h"
#include <string.h>

static void print_verb(const struct verb *v)
{
    printf("train_rl %s - %s\n\nusage\n  train_rl %s %s\n\n%s", v->name, v->sentence, v->name, v->usage, v->help);
    if (v->options) {
        fputs("\nkeys (with defaults)\n", stdout);
        param_rows_print(stdout, v->options);
    }
    fputs("\nexit status: 0 done, 1 failed, 2 wrong usage\n", stdout);
}

static void print_all(void)
{
    fputs("train_rl - reinforcement learning with verifiable rewards for small language models\n"
          "\n"
          "usage\n"
          "  train_rl [VERB] [RECIPE] [key=value ...]\n"
          "\n"
          "Without a verb it trains; without a recipe it takes chain, which needs no data and about a minute.\n"
          "\n"
          "verbs\n",
          stdout);
    for (int i = 0; verbs[i]; i++)
        printf("  %-16s %s\n", verbs[i]->name, verbs[i]->sentence);
    fputs("\n"
          "examples\n"
          "  train_rl                       train the default recipe\n"
          "  train_rl grpo seed=2           another recipe, another seed\n"
          "  train_rl eval out/chain-1      measure what a run has left\n"
          "  train_rl list                  everything that recipes are made of\n"
          "  train_rl show clip             one of them in full\n"
          "  train_rl help VERB             what a verb takes\n"
          "\n"
          "exit status: 0 done, 1 failed, 2 wrong usage\n",
          stdout);
}

static int run(int argc, const char *const *argv)
{
    struct error e;
    if (argc > 1) {
        fail(&e, "one word at a time");
        return verb_usage(&verb_row_help, &e);
    }
    if (argc == 0) {
        print_all();
        return EXIT_DONE;
    }
    const struct verb *v = verb_find(argv[0]);
    if (v) {
        print_verb(v);
        return EXIT_DONE;
    }
    return verb_row_show.run(argc, argv);
}

const struct verb verb_row_help = {
    "help",        "What the command or one of its verbs does; also --help and -h.",
    "[VERB|NAME]", "Without a word, the command as a whole. A name that is no verb is looked up as by show.\n",
    NULL,          run,
};
