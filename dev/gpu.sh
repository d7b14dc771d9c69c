#!/usr/bin/env bash
# Everything that needs a GPU, in one call of under ten minutes: builds, checks, times.
#
#   bash dev/gpu.sh [build|check|time|peers|sanitize ...]      default: all five, as far as this machine can
#
# build     train_rl_cu, the tests and the benchmark for this card (where nvcc is; elsewhere what .build/ holds is run, so
#           that it can be built on another machine: CUDA_ARCH=90 bash dev/gpu.sh build)
# check     every row against the reference in both precisions, what is promised bit for bit, the model, twenty optimiser
#           steps, sampler and trainer; the same seed twice gives the same run, in fp32 with mismatch 0, in bf16 with the
#           mismatch printed
# time      memory read and products of bf16 first, then training, sampling and a whole step of both at the shapes of GPT-2,
#           Qwen2 0.5B, Qwen3 0.6B and GPT-2 XL in mixed precision, as shares of the two (bench_bf16); GPT-2 and GPT-2 XL in
#           fp32 (bench); three steps of a run of train_rl_cu with GPT-2's shape, and where their time went (steps)
# peers     with PYTHON=... of an environment with torch (and trl): the same whole step by a PyTorch loop and by TRL's
#           GRPOTrainer, and how many times longer they take. dev/bench/README.md says how to carry them along
# sanitize  compute-sanitizer (memcheck, racecheck, synccheck) over a short run of each precision
#
# SECONDS_IN_ALL=570: what would go on beyond is stopped, what would begin later is left out; both are said and counted.
# Results go to $OUT (default .build/release/gpu/results). Ends with `N passed, N failed, N out of time`; fails when anything
# failed.
set -u
cd "$(dirname "$0")/.." || exit 1
make=${MAKE:-make} B=.build/release SECONDS_IN_ALL=${SECONDS_IN_ALL:-570}
results=${OUT:-$B/gpu/results}
steps=${*:-build check time peers sanitize}
passed=0 failed=0 late=0
mkdir -p "$results"

step() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 start=$SECONDS status
    shift 2
    rm -f "$results/$name.log"
    if [ $((SECONDS + limit)) -gt "$SECONDS_IN_ALL" ]; then limit=$((SECONDS_IN_ALL - SECONDS)); fi
    if [ "$limit" -lt 5 ]; then
        late=$((late + 1))
        echo "left out $name: the $SECONDS_IN_ALL seconds are over"
        return
    fi
    timeout "$limit" "$@" >"$results/$name.log" 2>&1
    status=$?
    if [ $status -eq 0 ]; then
        passed=$((passed + 1))
        echo "passed $name ($((SECONDS - start)) s)"
    elif [ $status -eq 124 ]; then
        late=$((late + 1))
        echo "stopped $name after $limit s: $results/$name.log"
    else
        failed=$((failed + 1))
        echo "FAILED $name ($((SECONDS - start)) s): $results/$name.log"
        tail -n 5 "$results/$name.log" | sed 's/^/    /'
    fi
}

same_run_twice() { # PRECISION
    local dir tiny=(chain run.device=cuda run.precision="$1" warmup.steps=20 control.steps=1 rl.steps=5 eval.prompts=16 rollout.prompts=8)
    local slots=3
    [ "$1" = fp32 ] || slots=16 # in bf16 the library decides whether slots matter
    dir=$(mktemp -d)
    ./$B/train_rl_cu "${tiny[@]}" run.out="$dir/a" rollout.slots=16 || return 1
    ./$B/train_rl_cu "${tiny[@]}" run.out="$dir/b" rollout.slots=$slots || return 1
    for run in a b; do # what depends on the clock, or is where a run says where it is, begins with t_
        sed 's/,"t_[^}]*//' "$dir/$run/log.jsonl" >"$dir/$run.log"
    done
    cmp "$dir/a.log" "$dir/b.log" || return 1
    grep -oE '"logp_mismatch_(max|mean)":[^,]*' "$dir/a.log" | sort -u
    [ "$1" = bf16 ] || ! grep -E '"logp_mismatch_max":(0\.0*)?[1-9]' "$dir/a.log" || return 1
    rm -rf "$dir"
}

whole_steps() { # of the program itself, scoring included; prints where the time of the last step went
    local dir
    dir=$(mktemp -d)
    ./$B/train_rl_cu chain run.device=cuda run.precision=bf16 model.preset=gpt2 warmup.steps=1 control.steps=1 rl.steps=3 \
        eval.prompts=2 rollout.prompts=32 rollout.samples=8 run.out="$dir/run" || return 1
    grep '"phase":"rl"' "$dir/run/log.jsonl" | tail -n 1 | grep -oE '"(tokens|logp_mismatch_max|logp_mismatch_mean|t_[a-z_]*)":[^,}]*'
    rm -rf "$dir"
}

export -f same_run_twice whole_steps # timeout runs programs, so these go through a shell of their own
export B
if [ "$steps" != build ] && ! ls /dev/nvidia[0-9]* >/dev/null 2>&1; then
    echo "no GPU here (no /dev/nvidia0): only 'build' can run"
    exit 1
fi

for what in $steps; do
    case $what in
    build)
        if command -v nvcc >/dev/null || [ -n "${NVCC:-}" ] || [ -x /usr/local/cuda/bin/nvcc ]; then
            arch=${CUDA_ARCH:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d .)}
            step build 400 "$make" -j"$(nproc)" CUDA_ARCH="${arch:-80 89 90}" gpu
        else
            echo "no nvcc here: running what $B holds"
        fi
        ;;
    check)
        for test in $B/gpu/test_*cuda*; do
            [ -x "$test" ] && step "$(basename "$test")" 60 "$test"
        done
        for precision in fp32 bf16; do
            step "same_run_twice_$precision" 60 bash -c "same_run_twice $precision"
        done
        grep -hs mismatch "$results/same_run_twice_bf16.log"
        ;;
    time)
        nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem --format=csv,noheader >"$results/card.txt" 2>&1
        step bench_bf16 120 "$B/gpu/bench" cuda-bf16
        step bench 60 "$B/gpu/bench" cuda gpt2 gpt2-xl
        step steps 60 bash -c whole_steps
        cat "$results/card.txt"
        for name in bench_bf16 bench steps; do # figures and failures, not the program's own report
            [ ! -e "$results/$name.log" ] || grep -E '^[{"]' "$results/$name.log"
        done
        ;;
    peers)
        if [ -z "${PYTHON:-}" ]; then
            echo "no PYTHON=... of an environment with torch: no peers"
            continue
        fi
        export DEVICE=cuda-bf16 THREADS=4 BENCH="$B/gpu/bench"
        for peer in torch trl; do
            "$PYTHON" -c "import $peer" 2>/dev/null || { echo "$PYTHON has no $peer: left out" && continue; }
            for model in qwen3-600m gpt2; do
                step "${peer}_$model" 60 sh dev/bench/peers.sh $peer $model 8x8x128x128 1
                [ ! -e "$results/${peer}_$model.log" ] || tail -n 1 "$results/${peer}_$model.log"
            done
        done
        ;;
    sanitize)
        sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
        if [ -z "$sanitizer" ]; then
            echo "no compute-sanitizer here: not run"
            continue
        fi
        for tool in memcheck racecheck synccheck; do # addresses, races in shared memory, barriers: of both precisions' kernels
            for precision in fp32 bf16; do
                step "sanitizer_${tool}_$precision" 60 "$sanitizer" --tool $tool --error-exitcode 9 ./$B/train_rl_cu chain \
                    run.device=cuda run.precision=$precision warmup.steps=1 control.steps=1 rl.steps=1 eval.prompts=2 \
                    rollout.prompts=2 rollout.samples=2 run.out="$(mktemp -d)/run"
            done
        done
        ;;
    *)
        echo "unknown step '$what'; build, check, time, peers and sanitize are known"
        exit 2
        ;;
    esac
done
echo "$passed passed, $failed failed, $late out of time"
[ $failed -eq 0 ]
