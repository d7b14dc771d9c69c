#!/bin/sh
# How the cost of a token grows with what it is part of: context, group size, vocabulary, threads, model size. Prints a
# table (also in .build/bench/scaling.txt) and draws it: dev/bench/scaling.svg.
#   sh dev/bench/scaling.sh
# One thread where not said otherwise, seconds are then processor time. A few minutes.
set -e
cd "$(dirname "$0")/../.."
TRAIN_RL=${TRAIN_RL:-./train_rl}
work=.build/bench table=.build/bench/scaling.txt
mkdir -p $work
: >$table

# series, x, name of the figure, model, shape, then options of bench: a line "series x microseconds a token, share"
point() {
    series=$1 x=$2 figure=$3 model=$4 shape=$5
    shift 5
    "$TRAIN_RL" bench only="$figure" model="$model" shape="$shape" json=1 run.threads=1 "$@" >$work/point.json
    sed -n 's/.*"value":[ ]*\([0-9.e+-]*\).*"share":[ ]*\([0-9.e+-]*\).*/\1 \2/p' $work/point.json | head -n 1 |
        awk -v s="$series" -v x="$x" '{ printf "%-28s %8d  %10.3f us/token  %3.0f %%\n", s, x, 1e6 / $1, 100 * $2 }' | tee -a $table
}

for context in 64 128 256 512 1024; do
    point context.train $context .train. llama-15m 1x1x1x$((context - 1))
done
for context in 64 128 256 512 1024; do
    point context.rollout $context .rollout.16 llama-15m 1x16x$((context - 24))x24
done
for samples in 1 2 4 8 16 32 64; do
    point group.cycle $samples .cycle. tiny-llama $((64 / samples))x${samples}x64x32
done
for vocabulary in 64 512 4096 32000 150000; do
    point vocabulary.train $vocabulary .train. tiny-llama 8x8x16x32 vocabulary=$vocabulary
    point vocabulary.rollout $vocabulary .rollout.64 tiny-llama 8x8x16x32 vocabulary=$vocabulary
done
for model in nano-llama tiny-llama small-llama small-gpt2 llama-15m gpt2; do
    n=$(echo nano-llama:45 tiny-llama:103 small-llama:323 small-gpt2:1222 llama-15m:15192 gpt2:124440 | tr ' ' '\n' |
        sed -n "s/^$model://p")
    point size.train.thousands "$n" .train. $model 1x8x64x56
done
# Threads by the clock on the wall, so only a quiet machine shows what two are worth; in turn, the median of five. The
# batches are those of a step of the default recipe, and one with as many groups as threads can share out evenly.
for model in tiny-llama:32x8x16x32 llama-15m:8x8x16x32; do
    rm -f $work/threads.1 $work/threads.2
    for round in 1 2 3 4 5; do
        for threads in 1 2; do
            OMP_NUM_THREADS=$threads "$TRAIN_RL" bench only=.train. model=${model%:*} shape=${model#*:} json=1 run.threads=$threads \
                >$work/point.json
            sed -n 's/.*"value":[ ]*\([0-9.e+-]*\).*"share":[ ]*\([0-9.e+-]*\).*/\1 \2/p' $work/point.json >>$work/threads.$threads
        done
    done
    for threads in 1 2; do
        sort -g $work/threads.$threads | sed -n 3p |
            awk -v s="threads.train.${model%:*}" -v x=$threads '{ printf "%-28s %8d  %10.3f us/token  %3.0f %%\n", s, x, 1e6 / $1, 100 * $2 }' | tee -a $table
    done
done
awk -f dev/bench/scaling.awk $table >dev/bench/scaling.svg
echo "drawn: dev/bench/scaling.svg"
