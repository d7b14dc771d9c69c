#!/bin/sh
# Fuzzing of everything that reads files from outside (README.md beside this file says how it is done).
#
#   sh dev/fuzz/run.sh fuzz [NAME ...]        every target, or some, FUZZ_SECONDS each (60); ends with 1 on a finding
#   sh dev/fuzz/run.sh coverage [NAME ...]    lines of the readers that the seeds and the corpus reach
#
# Environment: FUZZ_SECONDS; FUZZ_CC, the compiler (clang); FUZZ_SEEDS_ONLY=1, coverage of the seeds alone; MAKE.
set -u
cd "$(dirname "$0")/../.." || exit 1
make=${MAKE:-make}
cc=${FUZZ_CC:-clang}
what=$1
shift
corpus=.build/fuzz-corpus

if ! printf '#include <stddef.h>\nint LLVMFuzzerTestOneInput(const char *d, size_t n) { return d && n > 9 ? 0 : 0; }\n' |
    "$cc" -fsanitize=fuzzer,address,undefined -x c - -o /dev/null 2>/dev/null; then
    echo "fuzzing needs clang with its run-time library (libFuzzer); '$cc' has none." >&2
    echo "Debian, Ubuntu: apt-get install clang llvm libclang-rt-14-dev (libclang-common-14-dev on older ones);" >&2
    echo "Fedora: dnf install clang llvm compiler-rt. FUZZ_CC=clang-14 names another compiler." >&2
    exit 1
fi
if [ $# -eq 0 ]; then
    for file in dev/fuzz/fuzz_*.c; do
        name=$(basename "$file" .c)
        set -- "$@" "${name#fuzz_}"
    done
fi
variant=fuzz
[ "$what" = coverage ] && variant=coverage
programs=
for name in "$@"; do programs="$programs .build/$variant/fuzz/$name"; done
# shellcheck disable=SC2086
$make --no-print-directory CC="$cc" VARIANT=$variant $programs || exit 1

if [ "$what" = coverage ]; then
    profdata=$(command -v llvm-profdata || command -v llvm-profdata-14)
    cov=$(command -v llvm-cov || command -v llvm-cov-14)
    [ -n "$profdata" ] && [ -n "$cov" ] || { echo "coverage needs llvm-profdata and llvm-cov (package llvm)" >&2; exit 1; }
    rm -f .build/coverage/*.profraw
    objects=
    for name in "$@"; do
        mkdir -p "$corpus/$name"
        inputs=dev/fuzz/seeds/$name
        [ -n "${FUZZ_SEEDS_ONLY:-}" ] || inputs="$inputs $corpus/$name"
        # shellcheck disable=SC2086
        LLVM_PROFILE_FILE=.build/coverage/$name.profraw .build/coverage/fuzz/"$name" -runs=0 $inputs \
            >.build/coverage/"$name".log 2>&1 || { cat .build/coverage/"$name".log; exit 1; }
        objects="$objects ${objects:+-object} .build/coverage/fuzz/$name"
    done
    "$profdata" merge -sparse .build/coverage/*.profraw -o .build/coverage/all.profdata || exit 1
    readers=$(ls model/safetensors.c model/base/json.c model/checkpoint_config.c model/checkpoint_shards.c model/checkpoint_bin.c model/lora_files.c rewards/recipe*.c \
        data/tokenizer*.c data/chat.c data/expression.c data/answer_number.c data/decimal.c data/task_jsonl.c dev/verbs/lines.c 2>/dev/null)
    # shellcheck disable=SC2086
    "$cov" report $objects -instr-profile .build/coverage/all.profdata $readers |
        awk 'NR == 1 || /%/ { printf "%-36s %8s lines %8s missed %8s\n", $1, $8, $9, $10 }' | sed 1d
    exit 0
fi

found=0
for name in "$@"; do
    mkdir -p "$corpus/$name"
    dict=dev/fuzz/$name.dict
    echo "fuzz $name: ${FUZZ_SECONDS:-60} s"
    # A crash, a leak, a hang of 10 s or 2 GB of memory is a finding; the input lies in .build/fuzz-corpus.
    if ! ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
        .build/fuzz/fuzz/"$name" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=2048 -max_len=8192 \
        $([ -e "$dict" ] && echo "-dict=$dict") -artifact_prefix="$corpus/$name-" -print_final_stats=1 \
        "$corpus/$name" dev/fuzz/seeds/"$name" >"$corpus/$name.log" 2>&1; then
        echo "FOUND by $name (all of it: $corpus/$name.log):"
        grep -E 'ERROR|runtime error|does not hold|died|SUMMARY|Test unit written' "$corpus/$name.log" | head -n 12
        found=1
    fi
    grep -E 'DONE' "$corpus/$name.log" | tail -n 1
done
exit $found
