#!/bin/sh
# The same work by this program and by another, alternating, and the ratios: seconds of theirs over seconds of ours.
#
#   sh dev/bench/peers.sh torch MODEL SHAPE [ROUNDS]     a plain PyTorch loop (torch_loop.py): sampling and one update
#   sh dev/bench/peers.sh trl MODEL SHAPE [ROUNDS]       TRL's GRPOTrainer (trl_loop.py): the same
#   sh dev/bench/peers.sh llmc SEQUENCESxTOKENS [ROUNDS] llm.c's train_gpt2.c: one update of GPT-2 124 M
#
# SHAPE is GROUPSxSAMPLESxPROMPTxRESPONSE. THREADS=1: for both sides; with one, seconds are processor time.
# DEVICE=cpu-bf16: torch and trl in bf16 on the processor, against run.precision=bf16. DEVICE=cuda or cuda-bf16: on a GPU,
# against dev/gpu_bench.c, which BENCH names when it is not where make gpu puts it. PYTHON: of an environment with torch
# (and trl). LLMC: a checkout of llm.c; a copy of it is built in .build/bench.
set -e
cd "$(dirname "$0")/../.."
THREADS=${THREADS:-1} PYTHON=${PYTHON:-python3} TRAIN_RL=${TRAIN_RL:-./train_rl} STEPS=${STEPS:-3}
DEVICE=${DEVICE:-cpu} BENCH=${BENCH:-.build/release/gpu/bench}
work=.build/bench
mkdir -p $work
export OMP_NUM_THREADS=$THREADS HF_HUB_OFFLINE=1

ours() { # figure, model, shape: seconds of one step
    case $DEVICE in
    cpu) "$TRAIN_RL" bench only="$1" model="$2" shape="$3" run.threads="$THREADS" json=1 >$work/ours.json ;;
    cpu-bf16) "$TRAIN_RL" bench only="$1" model="$2" shape="$3" run.threads="$THREADS" run.precision=bf16 json=1 >$work/ours.json ;;
    *) "$BENCH" "$DEVICE" "$2" cycle="$3" >$work/ours.json ;;
    esac
    # the figure's name ends with the tokens of a step, its value is tokens a second
    sed -n 's/.*"name":[ ]*"[^"]*\.\([0-9]*\)".*"value":[ ]*\([0-9.e+]*\).*/\1 \2/p' $work/ours.json | awk '{ print $1 / $2 }'
}

median() { sort -g | awk '{ x[NR] = $1 } END { print NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'; }

python_loop() { # program, model, shape: seconds of one step, the first left out
    "$PYTHON" dev/bench/"$1" "$2" "$3" "$THREADS" $((STEPS + 1)) "$DEVICE" 2>$work/stderr.txt | grep -E '^[0-9.]+$' | sed 1d | median
}

# Random weights and tokens in llm.c's formats; its speed does not depend on them.
llmc_files() {
    [ -e $work/llm.c/gpt2_124M.bin ] || "$PYTHON" - $work/llm.c <<'END'
import array, random, sys
folder, V, Vp, T, L, C = sys.argv[1], 50257, 50304, 1024, 12, 768
random.seed(1)
noise = array.array("f", (random.uniform(-0.035, 0.035) for _ in range(1 << 16)))
sizes = [Vp * C, T * C, -L * C, L * C, L * 3 * C * C, L * 3 * C, L * C * C, L * C, -L * C, L * C, L * 4 * C * C, L * 4 * C,
         L * 4 * C * C, L * C, -C, C]  # a minus: weights of a norm
with open(folder + "/gpt2_124M.bin", "wb") as f:
    array.array("i", [20240326, 3, T, V, L, 12, C, Vp] + [0] * 248).tofile(f)
    for n in sizes:
        for at in range(0, abs(n), len(noise)):
            part = noise if n > 0 else array.array("f", [1.0]) * len(noise)
            part[: min(len(noise), abs(n) - at)].tofile(f)
for name in ("train", "val"):
    with open(folder + f"/dev/data/tinyshakespeare/tiny_shakespeare_{name}.bin", "wb") as f:
        n = 1 << 16
        array.array("i", [20240520, 1, n] + [0] * 253).tofile(f)
        array.array("H", (random.randrange(V) for _ in range(n))).tofile(f)
END
}

llmc_build() { # sequences, tokens
    [ -d "$LLMC" ] || { echo "peers.sh: LLMC=DIR, a checkout of llm.c, is wanted" >&2; exit 2; }
    mkdir -p $work/llm.c/dev/data/tinyshakespeare
    cp -r "$LLMC"/llmc "$LLMC"/train_gpt2.c $work/llm.c/
    clock=$([ "$THREADS" = 1 ] && echo CLOCK_PROCESS_CPUTIME_ID || echo CLOCK_MONOTONIC)
    sed -i "s/int B = 4;/int B = $1;/; s/int T = 64;/int T = $2;/; s/step <= 40/step <= $STEPS/; s/val_num_batches = 5/val_num_batches = 1/; \
        s/CLOCK_MONOTONIC/$clock/" $work/llm.c/train_gpt2.c
    (cd $work/llm.c && gcc -O3 -march=native -Ofast -fopenmp -DOMP -I. train_gpt2.c -o train_gpt2 -lm 2>/dev/null)
    llmc_files
}

llmc_step() { (cd $work/llm.c && ./train_gpt2) | sed -n 's/^step [0-9]*:.*took \([0-9.]*\) ms.*/\1/p' | sed 1d | awk '{ print $1 / 1000 }' | median; }

what=$1
case $what in
torch | trl) model=$2 shape=$3 rounds=${4:-3} figure=cycle ;;
llmc) model=gpt2 shape=${2%x*}x1x1x$((${2#*x} - 1)) rounds=${3:-3} figure=train && llmc_build "${2%x*}" "${2#*x}" ;;
*) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
: >$work/ratios
for round in $(seq "$rounds"); do
    a=$(ours $figure "$model" "$shape")
    case $what in
    torch) b=$(python_loop torch_loop.py "$model" "$shape") ;;
    trl) b=$(python_loop trl_loop.py "$model" "$shape") ;;
    llmc) b=$(llmc_step) ;;
    esac
    [ -n "$a" ] && [ -n "$b" ] || { echo "peers.sh: no figure from one of the two; see $work/stderr.txt" >&2; exit 1; }
    echo "$what $model $shape round $round: ours $a s, theirs $b s"
    echo "$a $b" | awk '{ print $2 / $1 }' >>$work/ratios
done
echo "$what $model $shape, $DEVICE, $THREADS thread(s): ours faster by $(median <$work/ratios) (median of $rounds)"
