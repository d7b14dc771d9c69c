#ifndef CLOCK_H
#define CLOCK_H
double clock_now(void);                               /* seconds of a monotonic clock */
const char *clock_text(char buf[32], double seconds); /* "42 s", "3 min 05 s", "2 h 10 min" */
#endif
