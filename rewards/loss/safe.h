/* SAFE's controller of the KL penalty, shared by the stage that trains with it (loss `safe_penalty`) and the method row
 * that shows every call of it.
 */
#ifndef SAFE_H
#define SAFE_H
#include "../batch.h"

enum { SAFE_WINDOW = 50 };
/* Numbers of the state row, in this order, all 0 before the first call. The rewards are those of the last two windows,
 * oldest overwritten: call k wrote reward[k % (2 * SAFE_WINDOW)]. */
enum { SAFE_CALLS, SAFE_SHORT, SAFE_LONG, SAFE_EMA, SAFE_INTEGRAL, SAFE_ERROR, SAFE_REWARD };
enum { SAFE_WIDTH = SAFE_REWARD + 2 * SAFE_WINDOW };

struct safe_knobs {
    double threshold, entropy_floor, kp, ki, kd; /* base threshold; gains of the PID loop */
};
enum safe_phase { SAFE_WARMUP, SAFE_CLIMBING, SAFE_PLATEAU, SAFE_CONVERGED };
struct safe_answer {
    double penalty, threshold, gate, pid;
    enum safe_phase phase;
    int active; /* the smoothed KL is above the threshold */
};

/* One call, with the mean log-ratio to the reference, the mean entropy and the mean reward of the step. */
struct safe_answer safe_control(double *state, const struct safe_knobs *k, double kl, double entropy, double reward);
double safe_soft_min(double v1, double v2, double alpha);
/* The token of the batch at which a response is judged: the last that the model wrote; -1: there is none. */
int safe_last_token(const struct batch *b, int sample);

#endif
