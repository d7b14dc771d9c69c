/* Figures of the verb bench: what one is, how it is measured and printed, and who has some to measure.
 *
 * To add one: describe it in a struct figure and hand it, with a function that does the work once, to bench_figure.
 */
#ifndef BENCH_H
#define BENCH_H
#include "../../model/transformer.h"

/* What this machine can do at most, in operations or bytes a second, all threads. A copy counts what it reads and
 * writes. */
enum ceiling { CEILING_FMA, CEILING_READ, CEILING_COPY, CEILING_TILES, CEILINGS };

struct bench {
    struct device *dev;
    const char *only;                      /* measure figures whose name contains it; "": all */
    const char *model;                     /* this preset alone; "": the three */
    int groups, samples, prompt, response; /* of the batch; groups 0: as the preset's */
    int vocabulary;                        /* 0: the preset's */
    int json, quick, bf16;
    int shown, left_out; /* figures printed, and dropped for lack of time */
    double started;      /* clock */
    double least[CEILINGS], most[CEILINGS];
    float *memory; /* what the ceilings of memory walk through */
    size_t floats, at;
};

struct figure {
    char name[96]; /* MODEL.OPERATION.DIRECTION.ROWS */
    const char *unit;
    double amount;       /* of the unit in one call */
    double flops, bytes; /* the least one call must compute and move; 0: no limit of that kind */
    int copies;          /* bytes are read and written alike: CEILING_COPY instead of CEILING_READ */
    int products;        /* nothing but products with a matrix: CEILING_TILES where they have it */
};

int bench_wants(const struct bench *b, const char *name);
/* Warm up, then medians of calls between measurements of the ceilings; prints a line. The share is the time that the
 * ceilings allow over the time taken. */
void bench_figure(struct bench *b, const struct figure *f, void (*call)(void *context), void *context);
/* A line measured otherwise; share NAN: none. */
void bench_line(struct bench *b, const char *name, double value, const char *unit, double share);
double bench_ceiling(struct bench *b, enum ceiling which); /* measured now */
double bench_clock(const struct bench *b);                 /* seconds */
double bench_median(double *x, int n);                     /* sorts */
int bench_has_tiles(const struct bench *b);                /* products run on the matrix unit */
double bench_weight(const struct device *d);               /* bytes of a weight as a product reads it */

/* ---- a model to measure (bench_model.c) ---- */

/* A thread that trains on micro-batches beside others, as the trainer's do. */
struct bench_worker {
    struct device one;
    struct layout layout;
    struct tape tape;
    double *logp;
};
struct bench_model {
    struct bench *b;
    const char *name;
    struct model model;
    struct layout layout;
    struct tape tape;
    int rows, entries;
    int groups, prompt, response, samples; /* the batch: groups of a prompt and equal responses */
    int passes;                            /* so many such batches make an update */
    int workers;                           /* 1: all threads at one */
    struct bench_worker *worker;           /* [workers], none where there is one */
    int *passed;                           /* [passes + 1] */
    double *logp, *gradient;
    float *in, *out; /* on the device: rows x the widest row; the operations' operands */
    float *logits;   /* on the device: [entries, or some of them][V] */
};
double model_flops(const struct arch *a, double length); /* of one token's forward pass behind `length` others */
void bench_operations(struct bench_model *m);            /* bench_ops.c */
/* All figures of the preset. */
int bench_preset(struct bench *b, const char *preset, struct error *e);
int bench_rlvr(struct bench *b, const char *preset, struct error *e); /* bench_loop.c */

#endif
