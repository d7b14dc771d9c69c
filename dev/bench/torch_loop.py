"""A plain PyTorch loop for the same work as `train_rl bench only=cycle`: sample a batch with a static key/value cache, then
one policy-gradient step on it. Prints the seconds of every step.

    python torch_loop.py MODEL GROUPSxSAMPLESxPROMPTxRESPONSE THREADS STEPS

Single precision. Prompts are computed once a group and their cache is repeated for the group's samples; training
computes whole sequences, as loops of this kind do. With one thread the seconds are processor time, as bench's are.
"""
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

now = time.process_time if sys.argv[3] == "1" else time.perf_counter

MODELS = {  # vocabulary, layers, heads, width, hidden, kind: the presets of model/arch.c
    "tiny-llama": (32, 2, 4, 64, 176, "llama"),
    "llama-15m": (32000, 6, 6, 288, 768, "llama"),
    "gpt2": (50257, 12, 12, 768, 3072, "gpt2"),
}


class Block(nn.Module):
    def __init__(self, heads, width, hidden, kind):
        super().__init__()
        llama = kind == "llama"
        norm = nn.RMSNorm if llama else nn.LayerNorm
        self.heads, self.llama = heads, llama
        self.norm1, self.norm2 = norm(width), norm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=not llama)
        self.out = nn.Linear(width, width, bias=not llama)
        self.up = nn.Linear(width, hidden * (2 if llama else 1), bias=not llama)
        self.down = nn.Linear(hidden, width, bias=not llama)

    def forward(self, x, angle, cache, at):
        B, T, C = x.shape
        q, k, v = (z.view(B, T, self.heads, -1).transpose(1, 2) for z in self.qkv(self.norm1(x)).chunk(3, -1))
        if self.llama:
            q, k = rotate(q, angle), rotate(k, angle)
        if cache is not None:
            cache[0][:, :, at : at + T] = k
            cache[1][:, :, at : at + T] = v
            k, v = cache[0][:, :, : at + T], cache[1][:, :, : at + T]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, C))
        h = self.up(self.norm2(x))
        if self.llama:
            gate, up = h.chunk(2, -1)
            return x + self.down(F.silu(gate) * up)
        return x + self.down(F.gelu(h, approximate="tanh"))


def rotate(x, angle):
    cosine, sine = angle
    a, b = x.chunk(2, -1)
    return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)


class Policy(nn.Module):
    def __init__(self, name, longest):
        super().__init__()
        vocabulary, layers, heads, width, hidden, kind = MODELS[name]
        self.shape = (layers, heads, width // heads)
        self.embed = nn.Embedding(vocabulary, width)
        self.place = nn.Embedding(1024, width) if kind == "gpt2" else None
        self.blocks = nn.ModuleList(Block(heads, width, hidden, kind) for _ in range(layers))
        self.norm = nn.LayerNorm(width) if kind == "gpt2" else nn.RMSNorm(width)
        half = width // heads // 2
        turn = torch.arange(longest)[:, None] / 10000 ** (torch.arange(half) / half)
        self.register_buffer("cosine", turn.cos())
        self.register_buffer("sine", turn.sin())
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, 0, 0.02)

    def forward(self, ids, cache=None, at=0):
        T = ids.shape[1]
        x = self.embed(ids)
        if self.place is not None:
            x = x + self.place(torch.arange(at, at + T))
        angle = (self.cosine[at : at + T], self.sine[at : at + T])
        for i, block in enumerate(self.blocks):
            x = block(x, angle, None if cache is None else cache[i], at)
        return self.norm(x)

    def logits(self, x):
        return x @ self.embed.weight.T


@torch.no_grad()
def rollout(model, prompts, samples, new, cache):
    groups, length = prompts.shape
    layers, heads, size = model.shape
    first = torch.zeros(layers, 2, groups, heads, length, size)
    hidden = model(prompts, first)[:, -1:].repeat_interleave(samples, 0)
    cache[:, :, :, :, :length] = first.repeat_interleave(samples, 2)
    ids, logp = [], []
    for t in range(new):
        z = F.log_softmax(model.logits(hidden[:, -1]), -1)
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
    model = Policy(name, length + new)
    layers, heads, size = model.shape
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6, betas=(0.9, 0.95), weight_decay=0.1)
    prompts = torch.randint(0, MODELS[name][0], (groups, length))
    cache = torch.zeros(layers, 2, groups * samples, heads, length + new, size)
    for _ in range(steps):
        start = now()
        ids, old = rollout(model, prompts, samples, new, cache)
        reward = torch.rand(groups, samples)
        advantage = ((reward - reward.mean(1, keepdim=True)) / (reward.std(1, keepdim=True) + 1e-6)).view(-1, 1)
        full = torch.cat((prompts.repeat_interleave(samples, 0), ids), 1)
        hidden = model(full[:, :-1])[:, length - 1 :]
        logp = F.log_softmax(model.logits(hidden), -1).gather(2, ids[:, :, None])[:, :, 0]
        ratio = (logp - old).exp()
        loss = -torch.min(ratio * advantage, ratio.clamp(0.8, 1.28) * advantage).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        print(f"{now() - start:.6f}", flush=True)


main()
