/* Opening a device: threads, scratch memory, and whether this processor can run this build at all.
 * Compiled for the same instruction set as the rest, so the check is done before anything is computed. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "backend.h"
#include "base/error.h"
#include "base/mem.h"

/* The first instruction set the build uses that this processor lacks, or NULL. */
static const char *missing_instructions(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_cpu_init();
#define NEED(name)                                                                                                     \
    if (!__builtin_cpu_supports(name))                                                                                 \
        return name;
#ifdef __AVX512VL__
    NEED("avx512vl")
#endif
#ifdef __AVX512DQ__
    NEED("avx512dq")
#endif
#ifdef __AVX512BF16__
    NEED("avx512bf16")
#endif
#ifdef __AVX512BW__
    NEED("avx512bw")
#endif
#ifdef __AVX512F__
    NEED("avx512f")
#endif
#ifdef __AVX2__
    NEED("avx2")
#endif
#ifdef __FMA__
    NEED("fma")
#endif
#ifdef __AVX__
    NEED("avx")
#endif
#undef NEED
#endif
    return NULL;
}

#ifdef REFERENCE_OPERATIONS
const struct ops *const default_ops = &ref_ops;
#else
const struct ops *const default_ops = &cpu_ops;
#endif

int device_open(struct device *d, const struct ops *ops, int threads, struct error *e)
{
    *d = (struct device){0};
    const char *missing = missing_instructions();
    if (missing)
        return fail(e,
                    "this build uses %s instructions, which this processor does not have; "
                    "build again on this machine (make clean, then make)",
                    missing);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    d->ops = ops;
    d->world = 1;
    d->memory = mem_machine();
    d->threads = threads > 0 ? threads : processors > 0 ? (int)processors : 1;
#ifndef _OPENMP
    d->threads = 1;
#endif
    return ops->open ? ops->open(d, e) : 0;
}

/* In bf16 the debug build has the fast rows as well: there are no others. */
static int open_processor(struct device *d, int bf16, int threads, struct error *e)
{
    if (device_open(d, bf16 ? &cpu_bf16_ops : default_ops, threads, e))
        return -1;
    if (d->slow)
        fprintf(stderr, "run.precision=bf16: %s, so bf16 is computed more slowly than fp32 here\n", d->slow);
    return 0;
}

int device_open_named(struct device *d, const char *name, int bf16, int threads, struct error *e)
{
    int automatic = strcmp(name, "auto") == 0;
    if (strcmp(name, "cpu") == 0)
        return open_processor(d, bf16, threads, e);
#ifdef WITH_CUDA
    if (device_open(d, bf16 ? &cuda_bf16_ops : &cuda_ops, threads, e) == 0)
        return 0;
    if (!automatic)
        return fail_in(e, "run.device=%s", name);
    fprintf(stderr, "%.900s: running on the processor\n", e->text);
#else
    if (!automatic)
        return fail(e, "run.device=%s: this program was built for the processor only; make cuda builds ./train_rl_cu",
                    name);
#endif
    return open_processor(d, bf16, threads, e);
}

void device_reserve(struct device *d, size_t bytes)
{
    if (bytes <= d->scratch_bytes)
        return;
    if (d->scratch)
        d->ops->release(d, d->scratch);
    d->scratch = d->ops->alloc(d, bytes);
    if (!d->scratch)
        die("no memory for %zu bytes of scratch; use smaller micro-batches", bytes);
    d->scratch_bytes = bytes;
}

void device_single(struct device *one, const struct device *d)
{
    *one = *d;
    one->threads = 1;
    one->scratch = NULL;
    one->scratch_bytes = 0;
}

void device_release_single(struct device *one)
{
    if (one->scratch)
        one->ops->release(one, one->scratch);
    one->scratch = NULL;
}

void device_close(struct device *d)
{
    if (d->scratch)
        d->ops->release(d, d->scratch);
    if (d->ops->close)
        d->ops->close(d);
    *d = (struct device){0};
}

/* Waiting threads spin a little and then sleep. libgomp's own default spins so long that a neighbour on one core slows
 * small operations twentyfold (dev/LOG.md); sleeping at once costs up to half the speed of an idle machine. libgomp
 * reads its environment when it is loaded and has no call for it, so the program starts itself once more with the count
 * set, before anything else has happened. A count or a policy that the user chose stays. */
#if defined _OPENMP && defined __linux__
#include <stdlib.h>
#include <unistd.h>
extern char **environ;
__attribute__((constructor)) static void bound_spinning(int argc, char **argv)
{
    if (argc < 1 || getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    if (setenv("GOMP_SPINCOUNT", "10000", 0) == 0)
        execve("/proc/self/exe", argv, environ); /* when it fails the run is only slower */
}
#endif
