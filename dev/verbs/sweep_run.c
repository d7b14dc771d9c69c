/* Processes of a sweep: this program forked, each copy being the verb rl in a directory of its own. Nothing here starts
 * a thread, so that the copies may. What a run says goes to the file messages.txt of its directory; how far it is, is
 * read from its log.
 */
#include "sweep_run.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include "../../model/base/clock.h"
#include "../../model/base/file.h"
#include "../../model/base/mem.h"
#include "rundir.h"
#include "verbs.h"

static const char messages[] = "messages.txt";
enum { MAX_MESSAGES = 1 << 26 };

/* ---- what there is to do ---- */

static long steps_of(const struct recipe *r)
{
    long n = 0;
    for (int i = 0; i < r->phases; i++)
        n += r->phase[i].steps;
    return n;
}

/* The words of rl, less the recipe; each is mem_free()d by the caller. */
static int job_words(const struct sweep *s, int number, char *word[MAX_SWEEP_WORDS + 2])
{
    const struct job *j = &s->job[number];
    int n = grid_words(&s->grid, number, word);
    struct text place = {0}, threads = {0};
    text_addf(&place, "run.%s=%s", j->resume ? "resume" : "out", j->dir);
    text_addf(&threads, "run.threads=%d", s->threads);
    word[n++] = place.s;
    word[n++] = threads.s;
    return n;
}

static void free_words(char **word, int n)
{
    while (n > 0)
        mem_free(word[--n]);
}

/* The combination's recipe, and the state of its directory. *text: the resolved recipe; NULL when it is refused. */
static int prepare_job(struct sweep *s, int number, char **text, struct error *e)
{
    struct job *j = &s->job[number];
    struct recipe *r = mem_alloc(1, sizeof *r);
    char *word[MAX_SWEEP_WORDS + 2], name[GRID_NAME];
    int state = RUN_NONE;
    struct error why;
    grid_name(&s->grid, number, name);
    grid_label(&s->grid, number, j->label, sizeof j->label);
    snprintf(j->dir, sizeof j->dir, "%s/%s", s->dir, name);
    int n = grid_words(&s->grid, number, word);
    if (recipe_load(r, s->recipe, (const char *const *)word, n, &why)) {
        j->state = JOB_FAILED;
        snprintf(j->why, sizeof j->why, "%.399s", why.text);
    } else {
        *text = mem_strdup(r->text);
        j->steps = steps_of(r);
        state = run_state(j->dir, r, 1, e);
        j->resume = state == RUN_CUT_OFF;
        j->reused = state == RUN_WHOLE;
        j->state = j->reused ? JOB_DONE : JOB_WAITING;
    }
    free_words(word, n);
    recipe_free(r);
    mem_free(r);
    return state < 0 ? -1 : 0;
}

int sweep_prepare(struct sweep *s, struct error *e)
{
    int n = s->grid.combinations, status = 0;
    char **text = mem_alloc((size_t)n, sizeof *text);
    for (int i = 0; i < n && !status; i++) {
        status = prepare_job(s, i, &text[i], e);
        for (int k = 0; k < i && text[i] && !status; k++)
            if (text[k] && !strcmp(text[i], text[k]))
                status = fail(e, "%s and %s are the same run: what differs does not matter to the result",
                              s->job[k].label, s->job[i].label);
    }
    for (int i = 0; i < n; i++)
        mem_free(text[i]);
    mem_free(text);
    return status;
}

int sweep_count(const struct sweep *s, enum job_state state)
{
    int n = 0;
    for (int i = 0; i < s->grid.combinations; i++)
        n += s->job[i].state == state;
    return n;
}

/* ---- signals ---- */

/* Signals that came and were not passed on yet. */
static volatile sig_atomic_t signals;

static void on_signal(int number)
{
    (void)number;
    signals = signals + 1;
}

static void handle(void (*handler)(int), struct sigaction old[2])
{
    static const int number[2] = {SIGINT, SIGTERM};
    struct sigaction now = {.sa_handler = handler};
    for (int i = 0; i < 2; i++)
        if (handler)
            sigaction(number[i], &now, &old[i]);
        else
            sigaction(number[i], &old[i], NULL);
}

/* ---- how far ---- */

/* What the runs that ended here took. A run that went on with an earlier one is less than one. */
struct spent {
    double seconds, runs;
};

/* Lines that the log has got since. */
static void read_progress(struct job *j)
{
    char path[700], piece[1 << 14];
    snprintf(path, sizeof path, "%s/%s", j->dir, run_file_names[RUN_LOG]);
    if (file_size(path) < j->seen) /* cut, to go on from its checkpoint */
        j->seen = j->lines = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        return;
    fseek(f, j->seen, SEEK_SET);
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0; j->seen += (long)n)
        for (size_t i = 0; i < n; i++)
            j->lines += piece[i] == '\n';
    fclose(f);
    j->share = j->steps ? (double)j->lines / (double)j->steps : 0;
}

/* ---- one process ---- */

/* In the copy. The runs are a process group each, so that Ctrl-C reaches them through the sweep alone, once; they end
 * with it when it is killed. */
static void be_run(const char *dir, int argc, const char *const *argv, const sigset_t *before)
{
    char path[700];
    pid_t parent = getppid();
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    sigprocmask(SIG_SETMASK, before, NULL);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILED);
#else
    (void)parent;
#endif
    snprintf(path, sizeof path, "%s/%s", dir, messages);
    int to = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666), from = open("/dev/null", O_RDONLY);
    if (to < 0 || from < 0 || dup2(from, 0) < 0 || dup2(to, 1) < 0 || dup2(to, 2) < 0)
        _exit(EXIT_FAILED);
    int status = verb_rl(argc, argv);
    fflush(NULL);
    _exit(status);
}

static void failed(struct job *j, const char *why)
{
    j->state = JOB_FAILED;
    snprintf(j->why, sizeof j->why, "%.399s", why);
}

static void start(struct sweep *s, int number)
{
    struct job *j = &s->job[number];
    char *word[MAX_SWEEP_WORDS + 2];
    const char *argv[MAX_SWEEP_WORDS + 3];
    struct error e;
    sigset_t both, before;
    if (file_make_directory(j->dir, &e)) {
        failed(j, e.text);
        return;
    }
    int n = job_words(s, number, word);
    argv[0] = s->recipe;
    memcpy(argv + 1, word, (size_t)n * sizeof *argv);
    sigemptyset(&both);
    sigaddset(&both, SIGINT);
    sigaddset(&both, SIGTERM);
    fflush(NULL); /* nothing is written twice */
    sigprocmask(SIG_BLOCK, &both, &before);
    j->pid = fork();
    if (j->pid == 0)
        be_run(j->dir, n + 1, argv, &before);
    sigprocmask(SIG_SETMASK, &before, NULL);
    free_words(word, n);
    if (j->pid < 0) {
        failed(j, "the system has no more processes");
        return;
    }
    j->state = JOB_RUNNING;
    j->begun = clock_now();
    read_progress(j);
    j->from = j->share;
}

/* The last line of what a run has said. */
static void last_words(struct job *j)
{
    char path[700];
    size_t len;
    struct error e;
    snprintf(path, sizeof path, "%s/%s", j->dir, messages);
    char *text = file_read(path, MAX_MESSAGES, &len, &e);
    while (text && len > 0 && text[len - 1] == '\n')
        text[--len] = 0;
    const char *line = text ? strrchr(text, '\n') : NULL;
    failed(j, !text ? e.text : line ? line + 1 : text);
    mem_free(text);
}

/* Has it ended? A run that a signal stopped waits for the next sweep. */
static void look_after(struct sweep *s, struct job *j)
{
    int status;
    if (waitpid(j->pid, &status, WNOHANG) != j->pid)
        return;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code == EXIT_DONE)
        j->state = JOB_DONE;
    else if (s->stopped && (code < 0 || code == EXIT_INTERRUPTED))
        j->state = JOB_WAITING;
    else if (code < 0) {
        char why[80];
        snprintf(why, sizeof why, "ended by signal %d; the same command goes on with it", WTERMSIG(status));
        failed(j, why);
    } else if (code == EXIT_INTERRUPTED)
        failed(j, "stopped and saved; the same command goes on with it");
    else
        last_words(j);
}

/* ---- what a person sees ---- */

/* Seconds of a whole run, by those that ran here; 0: nothing is known yet. */
static double seconds_a_run(const struct sweep *s, const struct spent *past)
{
    struct spent all = *past;
    for (int i = 0; i < s->grid.combinations; i++)
        if (s->job[i].state == JOB_RUNNING) {
            all.seconds += clock_now() - s->job[i].begun;
            all.runs += s->job[i].share - s->job[i].from;
        }
    return all.runs > 0 ? all.seconds / all.runs : 0;
}

static void show(struct sweep *s, struct rundir *screen, const struct spent *past, int last)
{
    char now[120] = "", bad[32] = "", left[32], end[48] = "";
    double rest = sweep_count(s, JOB_WAITING);
    size_t len = 0;
    for (int i = 0; i < s->grid.combinations; i++) {
        struct job *j = &s->job[i];
        if (j->state != JOB_RUNNING)
            continue;
        read_progress(j);
        rest += 1 - j->share;
        if (len < sizeof now - 20)
            len += (size_t)snprintf(now + len, sizeof now - len, "%s%.0f %%", len ? ", " : " at ", 100 * j->share);
    }
    double seconds = seconds_a_run(s, past);
    int left_over = sweep_count(s, JOB_WAITING) + sweep_count(s, JOB_RUNNING);
    int at_once = left_over < s->at_once ? left_over : s->at_once;
    if (sweep_count(s, JOB_FAILED))
        snprintf(bad, sizeof bad, ", %d failed", sweep_count(s, JOB_FAILED));
    if (s->stopped && !last)
        snprintf(end, sizeof end, "  stopping");
    else if (seconds > 0 && at_once > 0 && !last)
        snprintf(end, sizeof end, "  left %s", clock_text(left, seconds * rest / at_once));
    rundir_progress(screen, last, "%s  %d of %d runs done%s, %d running%s%s", s->name, sweep_count(s, JOB_DONE),
                    s->grid.combinations, bad, sweep_count(s, JOB_RUNNING), now, end);
}

/* ---- all of them ---- */

static void start_more(struct sweep *s)
{
    int running = sweep_count(s, JOB_RUNNING);
    for (int i = 0; i < s->grid.combinations && running < s->at_once; i++)
        if (s->job[i].state == JOB_WAITING) {
            start(s, i);
            running += s->job[i].state == JOB_RUNNING;
        }
}

static void pass_on_signals(struct sweep *s)
{
    if (signals == 0)
        return;
    s->stopped = 1;
    signals = 0;
    for (int i = 0; i < s->grid.combinations; i++)
        if (s->job[i].state == JOB_RUNNING)
            kill(s->job[i].pid, SIGINT);
}

static void look_after_all(struct sweep *s, struct spent *past)
{
    for (int i = 0; i < s->grid.combinations; i++) {
        struct job *j = &s->job[i];
        if (j->state != JOB_RUNNING)
            continue;
        look_after(s, j);
        if (j->state != JOB_DONE)
            continue;
        past->seconds += clock_now() - j->begun;
        past->runs += 1 - j->from;
    }
}

void sweep_train(struct sweep *s)
{
    const struct timespec pause = {0, 30000000};
    struct rundir screen = {.live = isatty(STDERR_FILENO)};
    struct sigaction old[2];
    struct spent past = {0, 0};
    int any = sweep_count(s, JOB_WAITING) > 0;
    signals = 0;
    handle(on_signal, old);
    for (;;) {
        pass_on_signals(s);
        if (!s->stopped)
            start_more(s);
        if (sweep_count(s, JOB_RUNNING) == 0)
            break;
        nanosleep(&pause, NULL);
        look_after_all(s, &past);
        show(s, &screen, &past, 0);
    }
    if (any)
        show(s, &screen, &past, 1);
    handle(NULL, old);
}
