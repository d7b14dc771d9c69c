/* Two builds of the operations in one process, alternating, on the figures of the verb bench: what a change to a kernel
 * gained, on a machine whose speed drifts by more than that.
 *
 * Each build is a shared object of model/ and dev/verbs/bench_*.c (compare.sh makes them). Both walk through the same
 * list of figures, each in a thread of its own, and meet at every figure: there the two are called in turn, and the
 * median of the ratios of neighbouring times is printed.
 *
 *   compare OLD.so NEW.so PRESET [ONLY]
 */
#include "../verbs/bench.h"
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BUILDS = 2, PAIRS = 41 };

struct build {
    const char *path, *preset;
    struct bench b;
    struct device dev;
    pthread_t thread;
    int number;
};

/* Where the two threads meet: the figures they brought, and the results of one side for the other. */
static pthread_barrier_t meeting;
static const struct figure *figure_of[BUILDS];
static double seconds[BUILDS][PAIRS];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_ratio(const struct figure *f)
{
    double ratio[PAIRS], old[PAIRS], new[PAIRS];
    for (int i = 0; i < PAIRS; i++) {
        old[i] = seconds[0][i];
        new[i] = seconds[1][i];
        ratio[i] = old[i] / new[i];
    }
    qsort(ratio, PAIRS, sizeof *ratio, ascending);
    qsort(old, PAIRS, sizeof *old, ascending);
    qsort(new, PAIRS, sizeof *new, ascending);
    printf("%-36s %10.4g -> %10.4g %-9s  times %5.2f  (%.2f .. %.2f)\n", f->name, f->amount / old[PAIRS / 2],
           f->amount / new[PAIRS / 2], f->unit, ratio[PAIRS / 2], ratio[PAIRS / 4], ratio[3 * PAIRS / 4]);
    fflush(stdout);
}

int bench_wants(const struct bench *b, const char *name)
{
    return strstr(name, b->only) != NULL;
}

/* Both compute in fp32. */
double bench_weight(const struct device *d)
{
    return (double)d->ops->real_bytes;
}

/* Called from a build, in its thread. The number of the build stands in b->shown. */
void bench_figure(struct bench *b, const struct figure *f, void (*call)(void *), void *context)
{
    int me = b->shown;
    if (!bench_wants(b, f->name))
        return;
    call(context);
    double start = now();
    call(context);
    double once = now() - start;
    int times = once < 3e-3 ? (int)(3e-3 / (once + 1e-9)) + 1 : 1;
    figure_of[me] = f;
    for (int i = 0; i < PAIRS; i++)
        for (int turn = 0; turn < BUILDS; turn++) {
            pthread_barrier_wait(&meeting);
            if (turn != (i % 2 ? !me : me))
                continue;
            start = now();
            for (int k = 0; k < times; k++)
                call(context);
            seconds[me][i] = (now() - start) / times;
        }
    pthread_barrier_wait(&meeting);
    if (me == 0 && strcmp(figure_of[0]->name, figure_of[1]->name) != 0)
        fprintf(stderr, "compare: %s against %s\n", figure_of[0]->name, figure_of[1]->name);
    if (me == 0)
        print_ratio(f);
    pthread_barrier_wait(&meeting);
}

static void *walk(void *context)
{
    struct build *w = context;
    struct error e;
    void *so = dlopen(w->path, RTLD_LAZY | RTLD_LOCAL);
    if (!so) {
        fprintf(stderr, "compare: %s\n", dlerror());
        exit(1);
    }
    int (*open_device)(struct device *, const struct ops *, int, struct error *);
    int (*preset)(struct bench *, const char *, struct error *);
    *(void **)&open_device = dlsym(so, "device_open");
    *(void **)&preset = dlsym(so, "bench_preset");
    const struct ops *ops = dlsym(so, "cpu_ops");
    if (!open_device || !preset || !ops || open_device(&w->dev, ops, 1, &e)) {
        fprintf(stderr, "compare: %s is no build of the operations\n", w->path);
        exit(1);
    }
    w->b.dev = &w->dev;
    w->b.shown = w->number;
    if (preset(&w->b, w->preset, &e))
        fprintf(stderr, "compare: %s: %s\n", w->path, e.text);
    return NULL;
}

int main(int argc, char **argv)
{
    struct build build[BUILDS] = {{0}};
    if (argc < 4) {
        fprintf(stderr, "usage: compare OLD.so NEW.so PRESET [ONLY]\n");
        return 2;
    }
    pthread_barrier_init(&meeting, NULL, BUILDS);
    for (int i = 0; i < BUILDS; i++) {
        build[i].path = argv[1 + i];
        build[i].preset = argv[3];
        build[i].b.only = argc > 4 ? argv[4] : "";
        build[i].number = i;
        pthread_create(&build[i].thread, NULL, walk, &build[i]);
    }
    for (int i = 0; i < BUILDS; i++)
        pthread_join(build[i].thread, NULL);
    return 0;
}
