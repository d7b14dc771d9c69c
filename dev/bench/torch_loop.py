"""A plain PyTorch loop for the same work as `train_rl bench only=cycle`: sample a batch with a static key/value cache, then
one policy-gradient step on it. Prints the seconds of every step.

    python torch_loop.py MODEL GROUPSxSAMPLESxPROMPTxRESPONSE THREADS STEPS [DEVICE]

DEVICE: cpu (default) or cuda, in single precision; with -bf16 behind it, weights that are trained, moments and sums stay
in single precision, products are computed in bf16 (autocast), and sampling reads a copy of the weights in bf16.
Prompts are computed once a group and their cache is repeated for the group's samples; training
computes whole sequences, as loops of this kind do. With one thread of a processor the seconds are processor time, as
bench's are.
"""
import contextlib
import copy
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

DEVICE, _, PRECISION = (sys.argv[5] if len(sys.argv) > 5 else "cpu").partition("-")
clock = time.process_time if DEVICE == "cpu" and sys.argv[3] == "1" else time.perf_counter

MODELS = {  # vocabulary, layers, heads, those of keys and values, their size, width, hidden, kind: as in model/arch.c
    "tiny-llama": (32, 2, 4, 4, 16, 64, 176, "llama"),
    "llama-15m": (32000, 6, 6, 6, 48, 288, 768, "llama"),
    "gpt2": (50257, 12, 12, 12, 64, 768, 3072, "gpt2"),
    "qwen2-500m": (151936, 24, 14, 2, 64, 896, 4864, "qwen2"),
    "qwen3-600m": (151936, 28, 16, 8, 128, 1024, 3072, "qwen3"),
    "gpt2-xl": (50257, 48, 25, 25, 64, 1600, 6400, "gpt2"),
}


def now():
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return clock()


class Block(nn.Module):
    def __init__(self, heads, groups, size, width, hidden, kind):
        super().__init__()
        gpt2 = kind == "gpt2"
        norm = nn.LayerNorm if gpt2 else nn.RMSNorm
        self.heads, self.groups, self.size, self.gpt2 = heads, groups, size, gpt2
        self.norm1, self.norm2 = norm(width), norm(width)
        self.qkv = nn.Linear(width, (heads + 2 * groups) * size, bias=kind in ("gpt2", "qwen2"))
        self.out = nn.Linear(heads * size, width, bias=gpt2)
        self.up = nn.Linear(width, hidden * (1 if gpt2 else 2), bias=gpt2)
        self.down = nn.Linear(hidden, width, bias=gpt2)
        self.query_norm, self.key_norm = (norm(size), norm(size)) if kind == "qwen3" else (None, None)

    def forward(self, x, angle, cache, at):
        B, T, C = x.shape
        H, G = self.heads, self.groups
        qkv = self.qkv(self.norm1(x)).view(B, T, H + 2 * G, self.size).transpose(1, 2)
        q, k, v = qkv.split((H, G, G), 1)
        if self.query_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        if not self.gpt2:
            q, k = rotate(q, angle).to(v.dtype), rotate(k, angle).to(v.dtype)
        if cache is not None:
            cache[0][:, :, at : at + T] = k
            cache[1][:, :, at : at + T] = v
            k, v = cache[0][:, :, : at + T], cache[1][:, :, : at + T]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1, enable_gqa=G < H)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, -1))
        h = self.up(self.norm2(x))
        if self.gpt2:
            return x + self.down(F.gelu(h, approximate="tanh"))
        gate, up = h.chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, angle):
    cosine, sine = angle
    a, b = x.chunk(2, -1)
    return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)


class Policy(nn.Module):
    def __init__(self, name, longest):
        super().__init__()
        vocabulary, layers, heads, groups, size, width, hidden, kind = MODELS[name]
        gpt2 = kind == "gpt2"
        self.shape = (layers, groups, size)
        self.embed = nn.Embedding(vocabulary, width)
        self.place = nn.Embedding(1024, width) if gpt2 else None
        self.blocks = nn.ModuleList(Block(heads, groups, size, width, hidden, kind) for _ in range(layers))
        self.norm = nn.LayerNorm(width) if gpt2 else nn.RMSNorm(width)
        turn = torch.arange(longest)[:, None] / 10000 ** (torch.arange(size // 2) / (size // 2))
        self.register_buffer("cosine", turn.cos())
        self.register_buffer("sine", turn.sin())
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, 0, 0.02)

    def forward(self, ids, cache=None, at=0):
        T = ids.shape[1]
        x = self.embed(ids)
        if self.place is not None:
            x = x + self.place(torch.arange(at, at + T, device=ids.device))
        angle = (self.cosine[at : at + T], self.sine[at : at + T])
        for i, block in enumerate(self.blocks):
            x = block(x, angle, None if cache is None else cache[i], at)
        return self.norm(x)

    def logits(self, x):
        return x @ self.embed.weight.T


@torch.no_grad()
def rollout(model, prompts, samples, new, cache):
    groups, length = prompts.shape
    first = torch.zeros_like(cache[:, :, ::samples, :, :length])
    hidden = model(prompts, first)[:, -1:].repeat_interleave(samples, 0)
    cache[:, :, :, :, :length] = first.repeat_interleave(samples, 2)
    ids, logp = [], []
    for t in range(new):
        z = F.log_softmax(model.logits(hidden[:, -1]).float(), -1)
        token = torch.multinomial(z.exp(), 1)
        ids.append(token)
        logp.append(z.gather(1, token))
        if t + 1 < new:
            hidden = model(token, cache, length + t)
    return torch.cat(ids, 1), torch.cat(logp, 1)


def main():
    name, shape, threads, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    groups, samples, length, new = map(int, shape.split("x"))
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    torch.set_default_device(DEVICE)
    model = Policy(name, length + new)
    sampler = copy.deepcopy(model).bfloat16() if PRECISION else model
    half = torch.autocast(DEVICE, torch.bfloat16) if PRECISION else contextlib.nullcontext()
    layers, heads, size = model.shape
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6, betas=(0.9, 0.95), weight_decay=0.1, fused=DEVICE == "cuda")
    prompts = torch.randint(0, MODELS[name][0], (groups, length))
    cache = torch.zeros(layers, 2, groups * samples, heads, length + new, size, dtype=sampler.embed.weight.dtype)
    for _ in range(steps):
        start = now()
        if PRECISION:
            with torch.no_grad():
                for mine, trained in zip(sampler.parameters(), model.parameters()):
                    mine.copy_(trained)
        ids, old = rollout(sampler, prompts, samples, new, cache)
        reward = torch.rand(groups, samples)
        advantage = ((reward - reward.mean(1, keepdim=True)) / (reward.std(1, keepdim=True) + 1e-6)).view(-1, 1)
        full = torch.cat((prompts.repeat_interleave(samples, 0), ids), 1)
        with half:
            logits = model.logits(model(full[:, :-1])[:, length - 1 :])
        logp = F.log_softmax(logits.float(), -1).gather(2, ids[:, :, None])[:, :, 0]
        ratio = (logp - old).exp()
        loss = -torch.min(ratio * advantage, ratio.clamp(0.8, 1.28) * advantage).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        print(f"{now() - start:.6f}", flush=True)


main()
