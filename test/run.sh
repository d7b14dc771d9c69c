#!/usr/bin/env bash
# Builds and runs every test, counts, and ends with `N passed, N failed, N skipped`.
#
#   bash test/run.sh [NAME ...]     all tests, or test/test_NAME.c only
#
# test/test_run_*.c (training runs, and what is long under the sanitizers) use the optimised objects and have the machine for themselves, one after another;
# all others run under the sanitizers, several at a time. What counts as failed: a failed test, a crash, a sanitizer
# report, a time-out, a program that does not compile or ends before all its tests did. In CI (CI=true) a skipped test
# fails the run too, unless its message says GPU. Environment: TEST_TIMEOUT, seconds for one program (600).
set -u
cd "$(dirname "$0")/.." || exit 1
make=${MAKE:-make}
logs=.build/test
limit=${TEST_TIMEOUT:-600}

if [ "${1:-}" = --one ]; then # one program, its output and status into $logs
    [ $# -gt 1 ] || exit 0 # xargs had nothing to hand on
    program=$2 name=$(basename "$2")
    export CMOCKA_MESSAGE_OUTPUT=tap
    export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:strict_string_checks=1}
    export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
    guard=
    for tool in timeout gtimeout; do
        [ -n "$guard" ] || ! command -v $tool >/dev/null || guard="$tool -k 10 $limit"
    done
    $guard "$program" >"$logs/$name.log" 2>&1 </dev/null
    echo $? >"$logs/$name.status"
    exit 0
fi

if [ $# -gt 0 ]; then
    names=("${@/#/test_}")
else
    names=()
    for file in test/test_*.c; do [ -e "$file" ] && names+=("$(basename "$file" .c)"); done
fi
rm -rf $logs
mkdir -p $logs
sanitized=() optimised=()
for name in ${names[@]+"${names[@]}"}; do
    case $name in
    test_run_*) optimised+=(".build/release/test/$name") ;;
    *) sanitized+=(".build/asan/test/$name") ;;
    esac
done

build() { # VARIANT PROGRAM...: what does not compile or link is missing afterwards and reported below, by name
    local variant=$1
    shift
    [ $# -eq 0 ] || { rm -f "$@" && $make -k --no-print-directory VARIANT="$variant" "$@"; }
}
build asan ${sanitized[@]+"${sanitized[@]}"} 2>&1
build release ${optimised[@]+"${optimised[@]}"} 2>&1

jobs=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
for program in ${sanitized[@]+"${sanitized[@]}"}; do
    [ -x "$program" ] && echo "$program"
done | OMP_WAIT_POLICY=passive xargs -n 1 -P "$jobs" bash test/run.sh --one
for program in ${optimised[@]+"${optimised[@]}"}; do
    [ -x "$program" ] && bash test/run.sh --one "$program"
done

passed=0 failed=0 skipped=0 gpu=0
# count FILE: reads what cmocka printed; answers "passed failed skipped of-these-for-the-GPU planned"
count() {
    awk '
    /^[0-9]+\.\.[0-9]+$/ { split($0, p, /\.\./); planned += p[2] }
    /^(not )?ok [0-9]+/ {
        if (/ # SKIP/) { skip++; if (about ~ /GPU/ || /GPU/) gpu++ }
        else if (/^not/) bad++
        else good++
        about = ""
        next
    }
    { about = about $0 "\n" }
    END { print good + 0, bad + 0, skip + 0, gpu + 0, planned + 0 }' "$1"
}

for program in ${sanitized[@]+"${sanitized[@]}"} ${optimised[@]+"${optimised[@]}"}; do
    name=$(basename "$program") log=$logs/$(basename "$program").log
    if [ ! -e "$log" ]; then
        echo "FAILED $name: does not compile or link"
        failed=$((failed + 1))
        continue
    fi
    status=$(cat "$logs/$name.status")
    read -r good bad skip forgpu planned < <(count "$log")
    why=
    if [ "$status" = 124 ] || [ "$status" = 137 ]; then why="no end after $limit s"
    elif [ $((good + bad + skip)) -ne "$planned" ]; then why="ended with status $status after $((good + bad + skip)) of $planned tests"
    elif [ "$planned" -eq 0 ]; then why="holds no test"
    elif [ "$bad" -eq 0 ] && [ "$status" -ne 0 ]; then why="ended with status $status"
    elif [ "$bad" -eq 0 ] && [ "$status" -ge 100 ]; then why="ended with status $status"
    elif grep -qE 'ERROR: (Address|Leak)Sanitizer|runtime error:' "$log"; then why="a sanitizer report"
    fi
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skip)) gpu=$((gpu + forgpu))
    [ -z "$why" ] || failed=$((failed + 1))
    if [ -n "$why" ] || [ "$bad" -gt 0 ]; then
        echo "FAILED $name${why:+: $why}  (all of it: $log)"
        grep -nE '^not ok' "$log" | grep -v SKIP | sed 's/^/    /'
        [ -z "$why" ] || tail -n 40 "$log" | sed 's/^/    | /'
        [ -n "$why" ] || grep -E '^# ' "$log" | head -n 40 | sed 's/^/    | /'
    else
        note=
        [ "$skip" -eq 0 ] || note=", $skip skipped"
        echo "passed $name: $good$note"
    fi
    [ "$skip" -eq 0 ] || grep -B 1 ' # SKIP' "$log" | sed 's/^/    /'
done

if rules=$(sh dev/include_rules.sh 2>&1); then
    echo "passed include_rules: 1"
    passed=$((passed + 1))
else
    echo "FAILED include_rules"
    printf '%s\n' "$rules" | sed 's/^/    /'
    failed=$((failed + 1))
fi

code=0
[ $failed -eq 0 ] || code=1
if [ "${CI:-}" = true ] && [ $skipped -gt $gpu ]; then
    echo "skipped tests fail in CI unless they need a GPU"
    code=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
exit $code
