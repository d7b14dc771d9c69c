#!/usr/bin/env bash
# Everything that needs a GPU, in one call of under ten minutes: builds, checks, times.
#
#   bash dev/gpu.sh [build|check|time ...]      default: all three, as far as this machine can
#
# build   train_rl_cu, the tests and the benchmark for this card (where nvcc is; elsewhere what .build/ holds is run, so
#         that it can be built on another machine: CUDA_ARCH=90 bash dev/gpu.sh build)
# check   every row against the reference in both precisions, what is promised bit for bit, the model, twenty optimiser
#         steps, sampler and trainer; the same seed twice gives the same run, in fp32 with mismatch 0, in bf16 with the
#         mismatch printed; compute-sanitizer (memcheck, racecheck, synccheck) over a short run of each precision
# time    memory read and products of bf16 first, then training and sampling at the shapes of GPT-2, Qwen2 0.5B, Qwen3 0.6B
#         and GPT-2 XL in mixed precision (bench_bf16); GPT-2 and GPT-2 XL in fp32 (bench)
#
# Results go to $OUT (default .build/release/gpu/results). Ends with `N passed, N failed`; fails when anything failed.
set -u
cd "$(dirname "$0")/.." || exit 1
make=${MAKE:-make} B=.build/release
results=${OUT:-$B/gpu/results}
steps=${*:-build check time}
passed=0 failed=0
mkdir -p "$results"

step() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    if timeout "$limit" "$@" >"$results/$name.log" 2>&1; then
        passed=$((passed + 1))
        echo "passed $name ($((SECONDS - start)) s)"
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

export -f same_run_twice # timeout runs programs, so these go through a shell of their own
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
            step build 400 "$make" CUDA_ARCH="${arch:-80 89 90}" gpu
        else
            echo "no nvcc here: running what $B holds"
        fi
        ;;
    check)
        for test in $B/gpu/test_*cuda*; do
            [ -x "$test" ] && step "$(basename "$test")" 120 "$test"
        done
        for precision in fp32 bf16; do
            step "same_run_twice_$precision" 60 bash -c "same_run_twice $precision"
        done
        grep -h mismatch "$results/same_run_twice_bf16.log"
        sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
        if [ -n "$sanitizer" ]; then # addresses, races in shared memory, barriers: of both precisions' kernels
            for tool in memcheck racecheck synccheck; do
                for precision in fp32 bf16; do
                    step "sanitizer_${tool}_$precision" 40 "$sanitizer" --tool $tool --error-exitcode 9 ./$B/train_rl_cu chain \
                        run.device=cuda run.precision=$precision warmup.steps=1 control.steps=1 rl.steps=1 eval.prompts=2 \
                        rollout.prompts=2 rollout.samples=2 run.out="$(mktemp -d)/run"
                done
            done
        else
            echo "no compute-sanitizer here: not run"
        fi
        ;;
    time)
        nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem --format=csv,noheader >"$results/card.txt" 2>&1
        step bench_bf16 180 "$B/gpu/bench" cuda-bf16
        step bench 120 "$B/gpu/bench" cuda gpt2 gpt2-xl
        cat "$results/card.txt" "$results/bench_bf16.log" "$results/bench.log"
        ;;
    *)
        echo "unknown step '$what'; build, check and time are known"
        exit 2
        ;;
    esac
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
