/* Turns are counters that one thread writes and the next one reads. Waiting is short where threads run side by side,
 * and as long as the other's time slice where they share a core, so after a while the core is offered to it.
 */
#include "turn.h"
#include <limits.h>
#include <sched.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum { SPINS = 4000 }; /* some tens of microseconds */

void turn_clear(int *passed, int n)
{
    memset(passed, 0, ((size_t)n + 1) * sizeof *passed);
    passed[0] = INT_MAX; /* nobody is before the first */
}

struct turn turn_of(int *passed, int i)
{
    return (struct turn){passed + i};
}

static void relax(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#endif
}

/* Until the micro-batch before has passed so many turns. */
static void wait_for(const struct turn *t, int turns)
{
    for (int i = 0; __atomic_load_n(&t->passed[0], __ATOMIC_ACQUIRE) < turns; i++)
        if (i < SPINS)
            relax();
        else
            sched_yield();
}

void turn_wait(const struct turn *t, int ahead)
{
    if (t)
        wait_for(t, t->passed[1] + ahead + 1);
}

void turn_pass(const struct turn *t)
{
    if (t)
        __atomic_store_n(&t->passed[1], t->passed[1] + 1, __ATOMIC_RELEASE);
}

/* One that gives up leaves turns that it never took: they are not open before those of the micro-batch before are. */
void turn_end(const struct turn *t)
{
    wait_for(t, INT_MAX);
    __atomic_store_n(&t->passed[1], INT_MAX, __ATOMIC_RELEASE);
}

static int thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

void turn_each(int workers, int n, int *passed, turn_work *work, void *context)
{
    turn_clear(passed, n);
#pragma omp parallel for schedule(monotonic : dynamic, 1) num_threads(workers) if (workers > 1)
    for (int i = 0; i < n; i++) { /* handed out in this order: of those at work the first waits for nobody */
        struct turn turn = turn_of(passed, i);
        work(context, thread(), i, &turn);
        turn_end(&turn);
    }
}
