#!/bin/sh
# What run.precision=bf16 brings on this processor: figures of `train_rl bench` in fp32 and in bf16, in turn; of each the
# median of the rounds, and the median of the ratios of neighbours.
#   sh dev/bench/bf16.sh [ROUNDS [FIGURE ...]]      default: 5 rounds of updates and of whole steps; THREADS=1
set -e
cd "$(dirname "$0")/../.."
TRAIN_RL=${TRAIN_RL:-./train_rl} THREADS=${THREADS:-1} rounds=${1:-5}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- tiny-llama.train tiny-llama.cycle llama-15m.train llama-15m.cycle
one() { # precision: tokens or operations a second
    "$TRAIN_RL" bench only="$figure" run.precision="$1" run.threads="$THREADS" json=1 |
        sed -n 's/.*"value":[ ]*\([0-9.e+-]*\).*/\1/p' | head -n 1
}
median() {
    sort -g | awk '{ x[NR] = $1 } END { printf "%.4g", NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'
}
for figure in "$@"; do
    pairs=
    for round in $(seq "$rounds"); do
        pairs="$pairs$(one fp32) $(one bf16)
"
    done
    printf '%-24s fp32 %s, bf16 %s, times' "$figure" "$(printf '%s' "$pairs" | awk '{ print $1 }' | median)" \
        "$(printf '%s' "$pairs" | awk '{ print $2 }' | median)"
    printf '%s' "$pairs" | awk '{ printf " %.2f", $2 / $1 }'
    printf ': %s\n' "$(printf '%s' "$pairs" | awk '{ print $2 / $1 }' | median)"
done
