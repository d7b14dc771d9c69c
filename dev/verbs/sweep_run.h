/* The runs of a sweep as processes of their own, several at once. */
#ifndef SWEEP_RUN_H
#define SWEEP_RUN_H
#include "sweep_grid.h"

enum job_state { JOB_WAITING, JOB_RUNNING, JOB_DONE, JOB_FAILED };
struct job {
    char dir[600], label[300], why[400]; /* why: it failed */
    enum job_state state;
    int resume, reused; /* it goes on with what is there; it was whole already */
    int pid;
    double begun, from, share; /* clock at the start; the share of its steps that it had then, and has now */
    long steps, lines, seen;   /* all its steps; lines and bytes of the log looked at so far */
};
struct sweep {
    struct grid grid;
    const char *recipe;       /* as on the command line */
    char name[104], dir[300]; /* of the recipe; that holds the runs */
    struct job *job;          /* one a combination */
    int at_once, threads;     /* jobs at a time, threads of each */
    int stopped;              /* a signal came */
};

/* Resolve and check every combination and look what its directory holds. A combination whose recipe is refused is a
 * failed job. -1: two combinations are the same run, or a directory holds another one. */
int sweep_prepare(struct sweep *s, struct error *e);
/* Run what waits, until all has ended or a signal came: Ctrl-C lets every run finish its step and save, a second one
 * ends them at once. Failures are written into the jobs. */
void sweep_train(struct sweep *s);
int sweep_count(const struct sweep *s, enum job_state state);

#endif
