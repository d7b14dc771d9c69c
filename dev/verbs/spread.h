/* Statistics of a few runs: mean, spread, and Student's t, for how far a further run may lie. */
#ifndef SPREAD_H
#define SPREAD_H

double spread_mean(const double *x, int n); /* n > 0 */
double spread_sd(const double *x, int n);   /* sample standard deviation (n - 1); 0 for n < 2 */
/* Half of the 95 % interval of the mean by Student's t: t sd / sqrt(n); NAN for n < 2. */
double spread_half(const double *x, int n);
/* P(|T| > t) for t >= 0 of Student's t with whole degrees of freedom, 1 to 10000; absolute error about 1e-15. */
double student_tails(double t, int freedom);
/* The t with P(|T| <= t) = level, for 0 < level < 1. */
double student_two_sided(double level, int freedom);

#endif
