/* help: the command as a whole, or one verb in sections like a manual page. The texts stand in the verbs' rows: a line
 * "Files:", "Exit status:" or "Examples:" in a row's help begins that section, what comes before is the description.
 */
#include "verbs.h"
#include <string.h>

static const char *const headings[] = {"Files:", "Exit status:", "Examples:", "Example:"};
enum { FILES, STATUS, EXAMPLES, EXAMPLE, HEADINGS };

static size_t line_length(const char *s)
{
    return strcspn(s, "\n") + (s[strcspn(s, "\n")] == '\n');
}

/* Number of the heading that the line is, or -1. */
static int heading_at(const char *line)
{
    for (int i = 0; i < HEADINGS; i++)
        if (strncmp(line, headings[i], strlen(headings[i])) == 0 && strcspn(line, "\n") == strlen(headings[i]))
            return i;
    return -1;
}

/* The lines of text up to the next heading, without empty ones at the end. Returns how many there were. */
static int print_lines(const char *text, const char *indent)
{
    int lines = 0, empty = 0;
    for (; *text && heading_at(text) < 0; text += line_length(text)) {
        int len = (int)strcspn(text, "\n");
        empty += len == 0;
        if (len == 0)
            continue;
        for (; empty > 0; empty--)
            if (lines)
                putchar('\n');
        empty = 0;
        printf("%s%.*s\n", indent, len, text);
        lines++;
    }
    return lines;
}

static int print_section(const struct verb *v, int heading)
{
    for (const char *p = v->help; *p; p += line_length(p))
        if (heading_at(p) == heading)
            return print_lines(p + line_length(p), ""); /* indented in the row */
    return 0;
}

static void print_options(const struct verb *v)
{
    fputs("\nOPTIONS\n", stdout);
    if (v->options)
        param_rows_print(stdout, v->options);
    else if (strstr(v->usage, "key=value"))
        fputs("  Any key of the recipe: SECTION.key, PHASE.key, STAGE.key, seed, or a knob of its [params]. `train_rl "
              "show\n"
              "  NAME` has the keys of a section or stage, their defaults and bounds; `train_rl list` the names.\n",
              stdout);
    else
        fputs("  None.\n", stdout);
}

static void print_verb(const struct verb *v)
{
    printf("NAME\n  train_rl %s - %s\n\nSYNOPSIS\n  train_rl %s %s\n\nDESCRIPTION\n", v->name, v->sentence, v->name,
           v->usage);
    print_lines(v->help, "  ");
    print_options(v);
    fputs("\nFILES\n", stdout);
    if (!print_section(v, FILES))
        fputs("  Only those that a word or a key names.\n", stdout);
    fputs("\nEXIT STATUS\n", stdout);
    if (!print_section(v, STATUS))
        fputs("  0 done, 1 failed, 2 wrong usage\n", stdout);
    fputs("\nEXAMPLES\n", stdout);
    if (!print_section(v, EXAMPLES))
        print_section(v, EXAMPLE);
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
          "  train_rl check out/chain-1     is that run as runs of its recipe are?\n"
          "  train_rl eval out/chain-1      measure what a run has left\n"
          "  train_rl plot out/chain-1      its curves, beside those of others\n"
          "  train_rl list                  everything that recipes are made of\n"
          "  train_rl show clip             one of them in full\n"
          "  train_rl help VERB             what a verb takes\n"
          "\n"
          "exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted\n",
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
    if (show_print(stdout, argv[0]))
        return EXIT_DONE;
    const char *names[512], *near = nearest_name(argv[0], names, show_names(names, 512));
    if (near)
        fail(&e, "there is no '%.80s', did you mean '%s'?", argv[0], near);
    else
        fail(&e, "there is no '%.80s'; `train_rl help` shows the verbs, `train_rl list` all other names", argv[0]);
    return verb_usage(&verb_row_help, &e);
}

const struct verb verb_row_help = {
    "help",
    "What the command or one of its verbs does; also --help and -h.",
    "[VERB|NAME]",
    "Without a word, the command as a whole. A name that is no verb is looked up as by show.\n"
    "\n"
    "Examples:\n"
    "  train_rl help\n"
    "  train_rl help plot\n"
    "  train_rl --help\n",
    NULL,
    run,
};
