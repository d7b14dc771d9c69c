/* The optimiser step: global-norm clipping and AdamW (Loshchilov, Hutter 2019), over all tensors of a
 * model that training changes. */
#include "transformer.h"
#include <math.h>

/* Has the embedding a second gradient, from its use as a table? */
static int has_lookup(const struct model *m)
{
    return m->arch.tied && !m->first;
}

void model_zero_grad(struct model *m)
{
    m->dev->ops->zero(m->dev, m->grad, m->own_reals);
    if (has_lookup(m))
        m->dev->ops->zero(m->dev, m->grad_lookup, m->tensor[m->wte].reals);
}

double model_grad_norm(struct model *m)
{
    struct device *d = m->dev;
    const struct tensor *wte = &m->tensor[m->wte];
    if (has_lookup(m))
        d->ops->add(d, dev_at(d, m->grad, wte->offset), m->grad_lookup, wte->reals);
    return sqrt(d->ops->sum_squares(d, m->grad, m->own_reals));
}

void model_step(struct model *m, const struct optimiser *o, double grad_norm)
{
    struct device *d = m->dev;
    m->steps++;
    double scale = o->clip > 0 && grad_norm > o->clip ? o->clip / grad_norm : 1;
    /* corrections for the betas that the operations compute with: 1 - 0.999f is 1.3e-5 off 1 - 0.999 */
    float beta1 = (float)o->beta1, beta2 = (float)o->beta2;
    struct adamw step = {(float)o->lr,
                         beta1,
                         beta2,
                         (float)o->eps,
                         0,
                         (float)(1 - pow(beta1, (double)m->steps)),
                         (float)(1 - pow(beta2, (double)m->steps)),
                         (float)scale,
                         0,
                         0};
    for (int i = m->first; i < m->tensors; i++) {
        const struct tensor *t = &m->tensor[i];
        step.weight_decay = t->decay ? (float)o->weight_decay : 0;
        step.N = t->N;
        step.K = t->K;
        d->ops->adamw(d, dev_at(d, m->own, t->offset), model_copy_of(m, i), dev_at(d, m->grad, t->offset),
                      dev_at(d, m->moment1, t->offset), dev_at(d, m->moment2, t->offset), t->reals, &step);
    }
}
