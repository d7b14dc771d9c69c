/* Statistics of a few runs. */
#include "spread.h"
#include <math.h>

double spread_mean(const double *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    return sum / n;
}

double spread_sd(const double *x, int n)
{
    double mean = spread_mean(x, n), sum = 0;
    for (int i = 0; i < n; i++)
        sum += (x[i] - mean) * (x[i] - mean);
    return n > 1 ? sqrt(sum / (n - 1)) : 0;
}

/* With whole degrees of freedom the distribution is a finite sum over the angle whose tangent is t / sqrt(freedom):
 * Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4. */
double student_tails(double t, int freedom)
{
    const double pi = 3.14159265358979323846;
    double tangent = t / sqrt(freedom), cosine = 1 / hypot(1, tangent), sine = tangent * cosine;
    double term = freedom % 2 ? cosine : 1, sum = freedom == 1 ? 0 : term;
    for (int k = freedom % 2 ? 3 : 2; k <= freedom - 2; k += 2) {
        term *= cosine * cosine * (k - 1) / k;
        sum += term;
    }
    return 1 - (freedom % 2 ? 2 / pi * (atan(tangent) + sine * sum) : sine * sum);
}

double spread_half(const double *x, int n)
{
    return n > 1 ? student_two_sided(0.95, n - 1) * spread_sd(x, n) / sqrt(n) : NAN;
}

double student_two_sided(double level, int freedom)
{
    double low = 0, high = 1;
    while (student_tails(high, freedom) > 1 - level && high < 1e15)
        high *= 2;
    for (int i = 0; i < 200; i++) {
        double middle = (low + high) / 2;
        *(student_tails(middle, freedom) > 1 - level ? &low : &high) = middle;
    }
    return (low + high) / 2;
}
