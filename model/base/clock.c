/* Time for people and for names that begin with t_; nothing that is reproducible may depend on it. */
#include "clock.h"
#include "error.h"
#include <stdio.h>
#include <time.h>

double clock_now(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
        die("the system has no monotonic clock");
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *clock_text(char buf[32], double seconds)
{
    if (!(seconds >= 0 && seconds < 1e12)) { /* NaN too: an estimate made before anything was done */
        snprintf(buf, 32, "?");
        return buf;
    }
    long s = (long)(seconds + 0.5); /* rounded first, so that 59.9 s is 1 min 00 s */
    if (s < 60)
        snprintf(buf, 32, "%ld s", s);
    else if (s < 3600)
        snprintf(buf, 32, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(buf, 32, "%ld h %02ld min", s / 3600, s / 60 % 60);
    return buf;
}
