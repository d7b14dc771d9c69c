"""Reference numbers for test/test_parity.c: small random models of each family, what PyTorch computes for them in double
precision, and what torch.optim.AdamW makes of them in ten steps of supervised training and ten of GRPO.

    python dev/reference/parity.py test/ref/parity

Nothing here is needed to build or to run train_rl; README.md beside this file says how to make the environment. The
models are written out below as plain formulas in double precision, because the classes of `transformers` compute norms,
rotary angles and the softmax in single precision whatever they are given; each is checked against its class (logits and
every gradient) before anything is written. A family is added with a function in FORWARD and a row in CASES.

Written for every case: config.json, model.safetensors (the initial weights, exact in float32), tokenizer.json (the
program wants one; no text is encoded), recipe.ini (what the program is to do) and expected.safetensors (batches and
results, prefix `sft.` or `rl.`; `moved.` is how far training moved the weights). Results are flat; their last value is by
how much the same formulas and optimiser miss the others when PyTorch computes in single precision from weights that are
off by a unit in the last place: the yardstick for programs that do.
"""
import json
import math
import os
import sys

# transformers imports a library of the name of tokenizers.py beside this file
sys.path = [p for p in sys.path if os.path.abspath(p or '.') != os.path.dirname(os.path.abspath(__file__))]
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

V, CONTEXT, TRAIN_STEPS, SINGLE = 31, 24, {'sft': 10, 'rl': 5}, 6
# Exact in float32, so that a program that keeps these keys in single precision is asked for the same numbers.
ROUND = dict(lr=2 ** -6, beta1=0.875, beta2=0.96875, eps=2 ** -10, weight_decay=0.125, clip=0.5, min_lr=0.25)
NORM_EPS = 2 ** -17
LLAMA = dict(hidden_size=12, intermediate_size=20, num_hidden_layers=2, vocab_size=V, max_position_embeddings=CONTEXT,
             rms_norm_eps=NORM_EPS, rope_theta=10000.0, hidden_act='silu', tie_word_embeddings=True)

CASES = {
    'gpt2': dict(
        config=dict(model_type='gpt2', vocab_size=V, n_positions=CONTEXT, n_embd=12, n_layer=2, n_head=3, n_inner=20,
                    activation_function='gelu_new', layer_norm_epsilon=NORM_EPS, tie_word_embeddings=True,
                    attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0),
        sft=dict(ROUND, warmup=3, schedule='linear', agg='token_mean'),
        rl=dict(ROUND, warmup=2, schedule='cosine', minibatches=2, epochs=1, agg='token_mean', eps_low=0.2,
                eps_high=0.28, std=True, ddof=1, adv_eps=1e-6, kl='k3', kl_coef=0.05, entropy_coef=0.01)),
    'llama': dict(
        config=dict(LLAMA, model_type='llama', num_attention_heads=2, num_key_value_heads=1, head_dim=16,
                    tie_word_embeddings=False),
        sft=dict(ROUND, schedule='constant', agg='seq_mean_token_mean'),
        rl=dict(ROUND, warmup=1, schedule='linear', minibatches=1, epochs=2, agg='seq_mean_token_mean', eps_low=0.2,
                eps_high=0.28, dual_clip=1.5, std=True, ddof=0, adv_eps=1e-4, kl='k2', kl_coef=0.1,
                entropy_coef=-0.02)),
    'qwen2': dict(
        config=dict(LLAMA, model_type='qwen2', num_attention_heads=4, num_key_value_heads=2, hidden_size=16,
                    use_sliding_window=False),
        sft=dict(ROUND, beta2=0.999, schedule='cosine', agg='seq_mean_token_sum'),
        rl=dict(ROUND, beta2=0.999, clip=2.0, schedule='constant', minibatches=2, epochs=1, agg='seq_mean_token_sum',
                eps_low=0.1, eps_high=0.1, std=False, kl='k1', kl_coef=0.05, entropy_coef=0.02)),
    'qwen3': dict(
        config=dict(LLAMA, model_type='qwen3', num_attention_heads=4, num_key_value_heads=1, head_dim=4,
                    attention_bias=False, use_sliding_window=False),
        sft=dict(ROUND, clip=math.inf, schedule='linear', agg='token_mean'),
        rl=dict(ROUND, clip=math.inf, schedule='cosine', minibatches=2, epochs=1, agg='seq_sum_const', eps_low=0.2,
                eps_high=0.28, std=True, ddof=1, scale='batch', adv_eps=1e-6, kl='k3', kl_coef=0.5,
                entropy_coef=0.1)),
    # long-context rotary scaling, biases everywhere, and the optimiser's default keys
    'llama3': dict(
        config=dict(LLAMA, model_type='llama', num_attention_heads=2, num_key_value_heads=1, head_dim=16,
                    attention_bias=True, mlp_bias=True,
                    rope_scaling=dict(rope_type='llama3', factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                      original_max_position_embeddings=64)),
        sft=dict(lr=3e-4, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip=1.0, schedule='constant',
                 agg='token_mean'),
        rl=dict(lr=3e-4, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.0, clip=1.0, warmup=3, schedule='constant',
                minibatches=2, epochs=1, agg='token_mean', eps_low=0.2, eps_high=0.28, std=True, ddof=1, adv_eps=1e-6,
                kl='k3', kl_coef=0.001, entropy_coef=0.001)),
}


# ---- models: parameters by their names in the file, ids of one whole sequence -> logits of every position

def linear(p, name, x):
    y = x @ p[name + '.weight'].T
    return y + p[name + '.bias'] if name + '.bias' in p else y


def conv1d(p, name, x):  # GPT-2 keeps its matrices as [in][out]
    return x @ p[name + '.weight'] + p[name + '.bias']


def layer_norm(p, name, x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred ** 2).mean(-1, keepdim=True) + NORM_EPS) * p[name + '.weight'] + p[name + '.bias']


def rms_norm(p, name, x):
    return x / torch.sqrt((x ** 2).mean(-1, keepdim=True) + NORM_EPS) * p[name + '.weight']


def attention(q, k, v):  # [T][heads][D] each; heads of keys and values are shared by neighbours
    share = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
    score = torch.einsum('thd,shd->hts', q, k) / math.sqrt(q.shape[2])
    later = torch.ones(len(q), len(q), dtype=torch.bool).triu(1)
    return torch.einsum('hts,shd->thd', torch.softmax(score.masked_fill(later, -math.inf), -1), v).reshape(len(q), -1)


def gpt2(p, c, ids):
    T, H = len(ids), c['n_head']
    x = p['transformer.wte.weight'][ids] + p['transformer.wpe.weight'][:T]
    for i in range(c['n_layer']):
        at = f'transformer.h.{i}.'
        q, k, v = conv1d(p, at + 'attn.c_attn', layer_norm(p, at + 'ln_1', x)).reshape(T, 3, H, -1).unbind(1)
        x = x + conv1d(p, at + 'attn.c_proj', attention(q, k, v))
        h = conv1d(p, at + 'mlp.c_fc', layer_norm(p, at + 'ln_2', x))
        h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h ** 3)))
        x = x + conv1d(p, at + 'mlp.c_proj', h)
    return layer_norm(p, 'transformer.ln_f', x) @ p['transformer.wte.weight'].T


def frequencies(c, D):
    f = c['rope_theta'] ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    s = c.get('rope_scaling')
    if not s:
        return f
    turns = s['original_max_position_embeddings'] * f / (2 * math.pi)
    smooth = ((turns - s['low_freq_factor']) / (s['high_freq_factor'] - s['low_freq_factor'])).clamp(0, 1)
    return (1 - smooth) * f / s['factor'] + smooth * f


def rotate(c, x):  # x [T][heads][D]
    T, _, D = x.shape
    angle = torch.arange(T, dtype=torch.float64)[:, None] * frequencies(c, D)
    cos, sin = angle.cos()[:, None].to(x.dtype), angle.sin()[:, None].to(x.dtype)
    a, b = x[..., :D // 2], x[..., D // 2:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def llama(p, c, ids):
    T, H, G = len(ids), c['num_attention_heads'], c['num_key_value_heads']
    x = p['model.embed_tokens.weight'][ids]
    for i in range(c['num_hidden_layers']):
        at = f'model.layers.{i}.self_attn.'
        h = rms_norm(p, f'model.layers.{i}.input_layernorm', x)
        q, k, v = (linear(p, at + n, h).reshape(T, g, -1) for n, g in (('q_proj', H), ('k_proj', G), ('v_proj', G)))
        if at + 'q_norm.weight' in p:
            q, k = rms_norm(p, at + 'q_norm', q), rms_norm(p, at + 'k_norm', k)
        x = x + linear(p, at + 'o_proj', attention(rotate(c, q), rotate(c, k), v))
        at = f'model.layers.{i}.mlp.'
        h = rms_norm(p, f'model.layers.{i}.post_attention_layernorm', x)
        gate = linear(p, at + 'gate_proj', h)
        x = x + linear(p, at + 'down_proj', gate * torch.sigmoid(gate) * linear(p, at + 'up_proj', h))
    head = p.get('lm_head.weight', p['model.embed_tokens.weight'])
    return rms_norm(p, 'model.norm', x) @ head.T


FORWARD = {'gpt2': gpt2, 'llama': llama, 'qwen2': llama, 'qwen3': llama}
CLASS = {'gpt2': (transformers.GPT2Config, transformers.GPT2LMHeadModel),
         'llama': (transformers.LlamaConfig, transformers.LlamaForCausalLM),
         'qwen2': (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
         'qwen3': (transformers.Qwen3Config, transformers.Qwen3ForCausalLM)}


def open_class(config):
    make_config, make_model = CLASS[config['model_type']]
    keys = {k: v for k, v in config.items() if k != 'model_type'}
    return make_model(make_config(**keys, attn_implementation='eager')).float()


def random_weights(model, tied, seed):
    """Names and shapes are those of the class; values are far from an initialisation, so that nothing is nearly 0."""
    random = np.random.default_rng(seed)
    p = {}
    for name, w in model.named_parameters():
        if tied and name == 'lm_head.weight':
            continue
        x = random.standard_normal(tuple(w.shape))
        x = x * 0.8 / math.sqrt(12) if w.dim() > 1 else x * 0.3
        if 'norm' in name or '.ln_' in name:
            x = x + name.endswith('weight')
        p[name] = torch.tensor(x.astype(np.float32).astype(np.float64), requires_grad=True)
    return p


def compare_with_class(model, p, config, batch):
    """In single precision the class must give our logits and gradients; else the formulas above are wrong."""
    with torch.no_grad():
        for name, w in model.named_parameters():
            w.copy_(p[name].float() if name in p else p[embedding(p)].float())
    worst, ours, theirs = 0, 0, 0
    for s in batch['samples']:
        ids = torch.tensor(s['prompt'] + s['ids'])
        a, b = FORWARD[config['model_type']](p, config, ids), model(ids[None]).logits[0]
        worst = max(worst, ((a - b).abs().max() / a.abs().max()).item())
        ours, theirs = ours - a.log_softmax(-1)[:-1].gather(1, ids[1:, None]).sum(), \
            theirs - b.log_softmax(-1)[:-1].gather(1, ids[1:, None]).sum()
    theirs.backward()
    grad = dict(zip(p, torch.autograd.grad(ours, list(p.values()))))
    for name, w in model.named_parameters():
        if name in grad:
            worst = max(worst, ((grad[name] - w.grad).abs().max() / grad[name].abs().max()).item())
    assert worst < 1e-5, worst
    return worst


def embedding(p):
    return next(n for n in p if n.endswith(('wte.weight', 'embed_tokens.weight')))


# ---- batches: groups of one prompt and several responses

def make_batch(kind, random):
    sizes = [1] * 5 if kind == 'sft' else [4, 3, 3, 2]
    samples, groups = [], []
    for g, n in enumerate(sizes):
        prompt = random.integers(0, V, 2 + g % 4).tolist()
        groups.append(n)
        for i in range(n):
            ids = random.integers(0, V, int(random.integers(3, 13))).tolist()
            s = dict(group=g, prompt=prompt, ids=ids, trained=[1] * len(ids), kept=1, weight=1.0, temperature=1.0,
                     support=[[] for _ in ids], reward=0.0, old=[0.0] * len(ids))
            if kind == 'rl':
                s['reward'] = float(random.integers(0, 3)) / 2 if g != 1 else 1.0  # group 1: nothing to learn from
                s['temperature'] = (1.0, 0.75, 1.0, 1.5)[g]
            samples.append(s)
    if kind == 'rl':
        samples[1]['trained'][1:3] = [0, 0]  # injected tokens: read, not learned
        samples[2]['weight'] = 0.5
        samples[8]['kept'] = 0
        for i, reward in ((0, 0.0), (3, 1.0), (7, 0.5), (9, 1.0), (10, 1.0), (11, 0.0)):
            samples[i]['reward'] = reward
        for s in samples:
            if s['group'] == 3:  # as truncated sampling leaves it: some ids kept, the token among them
                s['support'] = [[t] + random.permutation([v for v in range(V) if v != t])[:5].tolist() for t in s['ids']]
    return dict(kind=kind, samples=samples, groups=groups)


def entries(p, config, s):
    """Logits, log-probability and entropy of the trained tokens of a sample, as its temperature and supports say."""
    ids = torch.tensor(s['prompt'] + s['ids'])
    logits = FORWARD[config['model_type']](p, config, ids)[len(s['prompt']) - 1:-1]
    scaled = logits / s['temperature']
    mask = torch.zeros_like(scaled, dtype=torch.bool)
    for t, support in enumerate(s['support']):
        if support:
            mask[t] = True
            mask[t, support] = False
    logp = scaled.masked_fill(mask, -math.inf).log_softmax(-1)
    entropy = -(logp.exp() * logp.masked_fill(mask, 0)).sum(-1)
    chosen = logp.gather(1, torch.tensor(s['ids'])[:, None])[:, 0]
    trained = torch.tensor(s['trained'], dtype=torch.bool)
    return logits[trained].double(), chosen[trained].double(), entropy[trained].double()  # the losses are in double


def old_logp(p, config, batch, random):
    """As if the rollout's weights had been others: far enough from the present ones for both clips to act."""
    for s in batch['samples']:
        with torch.no_grad():
            logp = entries(p, config, dict(s, trained=[1] * len(s['ids'])))[1]
        s['old'] = (logp.numpy() + random.uniform(-0.6, 0.6, len(logp))).tolist()


# ---- losses

def tokens(s):
    return sum(s['trained']) if s['kept'] else 0


def aggregation(agg, s, part, longest):
    n, sequences = tokens(s), sum(tokens(x) > 0 for x in part)
    return {'token_mean': 1 / sum(map(tokens, part)), 'seq_mean_token_mean': 1 / (sequences * n),
            'seq_mean_token_sum': 1 / sequences, 'seq_sum_const': 1 / (sequences * longest)}[agg] * s['weight']


def advantages(batch, o):
    every = torch.tensor([s['reward'] for s in batch['samples'] if s['kept']], dtype=torch.float64)
    for g in range(len(batch['groups'])):
        group = [s for s in batch['samples'] if s['group'] == g and s['kept']]
        r = torch.tensor([s['reward'] for s in group], dtype=torch.float64)
        spread = every if o.get('scale') == 'batch' else r
        scale = spread.std(correction=o['ddof']).item() + o['adv_eps'] if o['std'] else 1
        for s in group:
            s['advantage'] = 0.0 if (r == r[0]).all() else (s['reward'] - r.mean().item()) / scale


def nll(p, config, part, o, longest, ref, seen):
    return sum(-aggregation(o['agg'], s, part, longest) * entries(p, config, s)[1].sum() for s in part)


class TooClose(Exception):
    """A ratio so near to where it is clipped that single precision could decide otherwise."""


def grpo(p, config, part, o, longest, ref, seen):
    loss = 0
    for s in part:
        if not tokens(s):
            continue
        _, logp, entropy = entries(p, config, s)
        trained = torch.tensor(s['trained'], dtype=torch.bool)
        ratio = (logp - torch.tensor(s['old'], dtype=torch.float64)[trained]).exp()
        a, low, high = s['advantage'], 1 - o['eps_low'], 1 + o['eps_high']
        term, bounded = -a * ratio, -a * ratio.clamp(low, high)
        clipped = bounded > term
        term = torch.maximum(term, bounded)
        if 'dual_clip' in o and a < 0:
            clipped = clipped | (term > -a * o['dual_clip'])
            term = term.clamp(max=-a * o['dual_clip'])
        if min((ratio - b).abs().min().item() for b in (low, high, o.get('dual_clip', 1e9))) < 1e-4:
            raise TooClose
        d = logp - entries(ref, config, s)[1].detach()
        k = {'k1': d, 'k2': d ** 2 / 2, 'k3': (-d).exp() - 1 + d}[o['kl']]
        w = aggregation(o['agg'], s, part, longest)
        loss = loss + w * (term + o['kl_coef'] * k - o['entropy_coef'] * entropy).sum()
        seen['clip_share'].append(clipped.double().detach())
        seen['kl'].append(k.detach())
        seen['entropy'].append(entropy.detach())
    return loss


# ---- training

def learning_rate(o, step, steps):
    warmup = o.get('warmup', 0)
    if step < warmup:
        return o['lr'] * (step + 1) / warmup
    done = (step - warmup) / max(steps - warmup, 1)
    if o['schedule'] == 'linear':
        return o['lr'] * (1 - (1 - o['min_lr']) * done)
    if o['schedule'] == 'cosine':
        return o['lr'] * (o['min_lr'] + (1 - o['min_lr']) * (1 + math.cos(math.pi * done)) / 2)
    return o['lr']


def gradient(p, loss):
    for w, g in zip(p.values(), torch.autograd.grad(loss, list(p.values()), materialize_grads=True)):
        w.grad = g
    return math.sqrt(sum((w.grad ** 2).sum().item() for w in p.values()))


def train(initial, config, batch, o, longest, torch_clip=False):
    """torch_clip: scale the gradient by torch.nn.utils.clip_grad_norm_, which adds 1e-6 to the norm it divides by."""
    p = {n: w.detach().clone().requires_grad_() for n, w in initial.items()}
    decay = [w for w in p.values() if w.dim() > 1]
    rest = [w for w in p.values() if w.dim() == 1]
    optimiser = torch.optim.AdamW([dict(params=decay, weight_decay=o['weight_decay']), dict(params=rest, weight_decay=0)],
                                  lr=o['lr'], betas=(o['beta1'], o['beta2']), eps=o['eps'])
    loss_of, steps = (grpo, TRAIN_STEPS['rl']) if batch['kind'] == 'rl' else (nll, TRAIN_STEPS['sft'])
    groups, parts = len(batch['groups']), o.get('minibatches', 1)
    out = {name: [] for name in ('lr', 'loss', 'norm', 'clip_share', 'kl', 'entropy')}
    for step in range(steps):
        lr, seen, losses, norms = learning_rate(o, step, steps), {'clip_share': [], 'kl': [], 'entropy': []}, [], []
        for part in range(o.get('epochs', 1) * parts):
            first, end = groups * (part % parts) // parts, groups * (part % parts + 1) // parts
            loss = loss_of(p, config, [s for s in batch['samples'] if first <= s['group'] < end], o, longest, initial,
                           seen)
            norms.append(gradient(p, loss))
            losses.append(loss.item())
            if torch_clip:
                torch.nn.utils.clip_grad_norm_(list(p.values()), o['clip'])
            else:
                for w in p.values():
                    w.grad *= min(1, o['clip'] / norms[-1])
            for group in optimiser.param_groups:
                group['lr'] = lr
            optimiser.step()
        out['lr'].append(lr)
        out['loss'].append(np.mean(losses))
        out['norm'].append(np.mean(norms))
        for k, x in seen.items():
            out[k].append(torch.cat(x).mean().item() if x else 0)
    return {'after.' + n: w.detach().numpy() for n, w in p.items()} | {'step.' + k: np.array(v) for k, v in out.items()}


def first_step(p, config, batch, o, longest):
    kept = [s for s in batch['samples'] if s['kept']]
    logits, logp, entropy = (torch.cat(x).detach().numpy() for x in zip(*(entries(p, config, s) for s in kept)))
    out = dict(logp=logp, entropy=entropy) if batch['kind'] == 'rl' else dict(logits=logits, logp=logp, entropy=entropy)
    seen = {'clip_share': [], 'kl': [], 'entropy': []}
    loss = (grpo if batch['kind'] == 'rl' else nll)(p, config, batch['samples'], o, longest, p, seen)
    out['first_loss'], out['first_norm'] = np.array([loss.item()]), np.array([gradient(p, loss)])
    if batch['kind'] == 'rl':
        out.update({'grad.' + n: w.grad.numpy().copy() for n, w in p.items()})
    return out


def jitter(p, random):
    """The weights in single precision, each at random as it is or one unit in the last place up or down."""
    out = {}
    for n, w in p.items():
        x = w.detach().numpy().astype(np.float32)
        out[n] = torch.tensor(np.nextafter(x, x + random.integers(-1, 2, x.shape).astype(np.float32)), requires_grad=True)
    return out


def results(p, config, batch, o, longest):
    """Everything in double precision; behind the values of each tensor stands the largest difference of SINGLE runs in
    single precision, from jittered weights: one run may be lucky in a tensor of few values."""
    def run(w):
        after = train(w, config, batch, o, longest)
        return first_step(w, config, batch, o, longest) | {k: v - w[k[6:]].detach().numpy() if 'after.' in k else v
                                                           for k, v in after.items()}
    random, exact = np.random.default_rng(7), run(p)
    apart = dict.fromkeys(exact, 0.0)
    for i in range(SINGLE):
        rounded = run(jitter(p, random))
        apart = {k: max(apart[k], np.abs(v - rounded[k]).max()) for k, v in exact.items()}
    far = 0
    if math.isfinite(o['clip']):
        other = train(p, config, batch, o, longest, True)
        far = max(np.abs(exact[k] + p[k[6:]].detach().numpy() - other[k]).max() for k in other if 'after.' in k)
    return {k.replace('after.', 'moved.'): np.append(v, apart[k]).astype(np.float32 if 'after.' in k else np.float64)
            for k, v in exact.items()}, far / exact['step.lr'].sum()


# ---- writing

def batch_tensors(batch):
    ss, S = batch['samples'], 6
    prompts = [next(s['prompt'] for s in ss if s['group'] == g) for g in range(len(batch['groups']))]
    flat = {'prompt': sum(prompts, []), 'prompt_len': list(map(len, prompts)), 'group_samples': batch['groups'],
            'len': [len(s['ids']) for s in ss], 'kept': [s['kept'] for s in ss],
            'id': [t for s in ss for t in s['ids']], 'trained': [t for s in ss for t in s['trained']],
            'supports': [len(k) for s in ss for k in s['support']],
            'support': [(k + [0] * S)[:S] for s in ss for k in s['support']]}
    real = {'weight': [s['weight'] for s in ss], 'reward': [s['reward'] for s in ss],
            'temperature': [s['temperature'] for s in ss], 'logp_old': [x for s in ss for x in s['old']]}
    return {**{k: np.array(v, np.int32) for k, v in flat.items()},
            **{k: np.array(v, np.float64) for k, v in real.items()}}


def number(x):
    return 'off' if x == math.inf else 'true' if x is True else 'false' if x is False else repr(x)


def call(name, **keys):
    return f'{name}({", ".join(f"{k} = {v if isinstance(v, str) else number(v)}" for k, v in keys.items())})'


def recipe_text(name, case, longest):
    optim = ('lr', 'beta1', 'beta2', 'eps', 'weight_decay', 'clip', 'warmup', 'schedule', 'minibatches', 'epochs')
    lines = [f'# Parity with PyTorch: {name}. Written by dev/reference/parity.py.', '[task]', 'name = chain', '',
             '[models]', 'ref = init frozen', '', '[rollout]', 'prompts = 4', 'samples = 4', f'max_new = {longest}',
             'top_k = 6', 'max_support = 6', '', '[stages]', 'score = outcome']
    for phase, o in (('sft', case['sft']), ('rl', case['rl'])):
        lines += ['', f'[phase {phase}]', f'source = {"gold" if phase == "sft" else "rollout"}',
                  f'steps = {TRAIN_STEPS[phase]}'] + (['batch = 8'] if phase == 'sft' else [])
        lines += [f'{k} = {o[k] if isinstance(o[k], str) else number(o[k])}' for k in optim if k in o]
        lines += [f'min_lr = {o["min_lr"]}'] if o['schedule'] != 'constant' else []
        if phase == 'sft':
            lines += ['loss = ' + call('nll', agg=o['agg'])]
            continue
        std = dict(std=o['std'], ddof=o['ddof'], eps=o['adv_eps'], scale=o.get('scale', 'group')) if o['std'] else \
            dict(std=False)
        dual = dict(dual_clip=o['dual_clip']) if 'dual_clip' in o else {}
        lines += ['advantage = ' + call('group', **std),
                  'loss = ' + call('clip', eps_low=o['eps_low'], eps_high=o['eps_high'], **dual, agg=o['agg']),
                  'regular = ' + call('kl', coef=o['kl_coef'], estimator=o['kl'], agg=o['agg']) + ', ' +
                  call('entropy', coef=o['entropy_coef'], agg=o['agg'])]
    return '\n'.join(lines) + '\n'


def tokenizer_text():
    eos = dict(id=0, content='<eos>', single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    vocab = {'<eos>': 0, **{c: i + 1 for i, c in enumerate('0123456789+-*=#\n')}}
    model = dict(type='BPE', dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
                 fuse_unk=False, byte_fallback=False, ignore_merges=False, vocab=vocab, merges=[])
    return json.dumps(dict(version='1.0', truncation=None, padding=None, added_tokens=[eos], normalizer=None,
                           pre_tokenizer=None, post_processor=None, decoder=dict(type='Fuse'), model=model), indent=1)


def write(path, text):
    with open(path, 'w') as f:
        f.write(text)


def main(folder):
    longest = 12
    for number_of, (name, case) in enumerate(CASES.items()):
        config, random, at = case['config'], np.random.default_rng(100 + number_of), os.path.join(folder, name)
        os.makedirs(at, exist_ok=True)
        model = open_class(config)
        p = random_weights(model, config['tie_word_embeddings'], number_of)
        out, far = {}, {}
        for kind in ('sft', 'rl'):
            batch, result = make_batch(kind, random), None
            if kind == 'sft':
                apart = compare_with_class(model, p, config, batch)
            while not result:
                try:
                    if kind == 'rl':
                        old_logp(p, config, batch, random)
                        advantages(batch, case[kind])
                    result, far[kind] = results(p, config, batch, case[kind], longest)
                except TooClose:
                    pass
            out.update({f'{kind}.{k}': v for k, v in {**batch_tensors(batch), **result}.items()})
        save_file({n: w.detach().numpy().astype(np.float32) for n, w in p.items()},
                  os.path.join(at, 'model.safetensors'), metadata={'format': 'pt'})
        save_file({k: np.ascontiguousarray(v) for k, v in out.items()}, os.path.join(at, 'expected.safetensors'))
        write(os.path.join(at, 'config.json'), json.dumps(config, indent=1) + '\n')
        write(os.path.join(at, 'tokenizer.json'), tokenizer_text() + '\n')
        write(os.path.join(at, 'recipe.ini'), recipe_text(name, case, longest))
        print(f'{name}: {sum(w.numel() for w in p.values())} weights, the class in single precision differs by '
              f'{apart:.1e}; weights after clip_grad_norm_ instead: {far["sft"]:.1e} and {far["rl"]:.1e} of the rates; '
              f'clipped {out["rl.step.clip_share"].tolist()}')


if __name__ == '__main__':
    torch.set_num_threads(1)
    main(sys.argv[1])
