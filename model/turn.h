/* Threads that add into one gradient, each for micro-batches of its own, take turns: what micro-batch i adds to a
 * tensor follows what micro-batch i-1 added to it, so sums come out as if one thread had done all of it. Every
 * micro-batch of a step passes the same sequence of turns; turn k is open when the micro-batch before has passed its
 * turn k. While one waits for the last layer's gradient, the other works on the layer before: neither waits for the
 * whole of the other.
 */
#ifndef TURN_H
#define TURN_H

struct turn {
    int *passed; /* [2] turns that the micro-batch before has passed, and those of this one; consecutive ones overlap */
};

/* For micro-batch i of a step. passed [micro-batches + 1], which turn_clear makes ready for n of them. */
void turn_clear(int *passed, int n);
struct turn turn_of(int *passed, int i);
/* Wait until the turn `ahead` of the next one is open (0: the next one). t NULL: nobody else adds, nothing to wait for.
 */
void turn_wait(const struct turn *t, int ahead);
void turn_pass(const struct turn *t); /* the next turn is over */
void turn_end(const struct turn *t);  /* all are: the micro-batch is done, or given up */
/* Calls work for micro-batches 0 .. n-1 of a step, in so many threads at once; one begins after those before it began.
 * worker: 0 .. workers-1, which of the threads it is. */
typedef void turn_work(void *context, int worker, int i, const struct turn *turn);
void turn_each(int workers, int n, int *passed, turn_work *work, void *context);

#endif
