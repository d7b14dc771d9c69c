#!/bin/sh
# Every figure of dev/bench/README.md, about a quarter of an hour on a quiet machine of two cores. Prints as it goes; all
# of it is also in .build/bench/all.txt, and the summary comes last.
#
#   PYTHON=ENVIRONMENT/bin/python LLMC=CHECKOUT sh dev/bench/all.sh
#
# Without PYTHON or LLMC the peers that need them are left out and named. THREADS=1 for the peers (see peers.sh).
cd "$(dirname "$0")/../.." || exit 1
TRAIN_RL=${TRAIN_RL:-./train_rl}
export TRAIN_RL
work=.build/bench
mkdir -p $work
: >$work/all.txt
begun=$(date +%s)

part() { # a heading, then a command that may fail without ending the rest
    title=$1
    shift
    echo "== $title ($(($(date +%s) - begun)) s)" | tee -a $work/all.txt
    { timeout 300 "$@" 2>&1 || echo "LEFT OUT: $title failed or took more than 300 s"; } | tee -a $work/all.txt
}
uptime | tee -a $work/all.txt
threads=1
part "ceilings" "$TRAIN_RL" bench run.threads=$threads only=ceiling
part "default run, all threads: real is seconds" bash -c 'rm -rf .build/bench/chain; time -p "$TRAIN_RL" chain seed=4 run.out=.build/bench/chain >/dev/null'
part "attention" "$TRAIN_RL" bench run.threads=$threads only=attention
part "input gradient, products of GPT-2" "$TRAIN_RL" bench run.threads=$threads only=gpt2.up
part "head, GPT-2" "$TRAIN_RL" bench run.threads=$threads only=gpt2.head
part "head, log-probabilities" "$TRAIN_RL" bench run.threads=$threads only=gpt2.logp
part "training step, default" "$TRAIN_RL" bench run.threads=$threads only=tiny-llama.train
part "training step, 15 M" "$TRAIN_RL" bench run.threads=$threads only=llama-15m.train
part "GPT-2, 4 x 256 tokens" "$TRAIN_RL" bench run.threads=$threads only=.train. model=gpt2 shape=4x1x1x255
part "decode, default" "$TRAIN_RL" bench run.threads=$threads only=tiny-llama.rollout
part "decode, GPT-2, one slot" "$TRAIN_RL" bench run.threads=$threads only=gpt2.rollout.1 model=gpt2 shape=1x1x64x24
part "decode, GPT-2, 64 slots at context 256" "$TRAIN_RL" bench run.threads=$threads only=gpt2.rollout.64 model=gpt2 shape=8x8x232x24
part "step of the loop, default" "$TRAIN_RL" bench run.threads=$threads only=tiny-llama.rlvr
threads=2
part "two threads: ceilings" "$TRAIN_RL" bench run.threads=$threads only=ceiling
part "two threads: products" "$TRAIN_RL" bench run.threads=$threads only=llama-15m.up
part "two threads: training step, 15 M" "$TRAIN_RL" bench run.threads=$threads only=llama-15m.train
threads=1
part "OpenBLAS" sh dev/bench/blas.sh
if [ -d "$LLMC" ]; then
    part "llm.c, 4 x 64" env STEPS=1 sh dev/bench/peers.sh llmc 4x64 1
    part "llm.c, 4 x 256" env STEPS=1 sh dev/bench/peers.sh llmc 4x256 1
else
    echo "LEFT OUT: llm.c, no LLMC=" | tee -a $work/all.txt
fi
if [ -x "$PYTHON" ]; then
    part "PyTorch, default" sh dev/bench/peers.sh torch tiny-llama 32x8x16x32 3
    part "TRL, default" sh dev/bench/peers.sh trl tiny-llama 32x8x16x32 3
    part "TRL, default, two threads" env THREADS=2 sh dev/bench/peers.sh trl tiny-llama 32x8x16x32 5
    part "TRL, 15 M" env STEPS=2 sh dev/bench/peers.sh trl llama-15m 1x8x64x64 1
    part "PyTorch, GPT-2" env STEPS=2 sh dev/bench/peers.sh torch gpt2 1x8x64x56 1
else
    echo "LEFT OUT: PyTorch and TRL, no PYTHON=" | tee -a $work/all.txt
fi
part "scaling" sh dev/bench/scaling.sh
uptime | tee -a $work/all.txt
echo "== summary ($(($(date +%s) - begun)) s)"
grep -E 'ours faster by|geometric mean|^real|\.train\.|\.rollout\.|attention|rlvr.step|LEFT OUT' $work/all.txt
