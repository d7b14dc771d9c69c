#!/bin/sh
# What the working tree gained over a commit: the figures of `train_rl bench` for both, alternating in one process.
#   sh dev/bench/compare.sh [COMMIT] [PRESET] [ONLY]      default: HEAD tiny-llama, all figures
set -e
cd "$(dirname "$0")/../.."
commit=${1:-HEAD} preset=${2:-tiny-llama} only=$3
CC=${CC:-gcc} ARCH=${ARCH:-native}
work=.build/compare
mkdir -p $work/old
rm -rf $work/old/*
git archive "$commit" | tar x -C $work/old
flags="-std=c11 -D_GNU_SOURCE -O3 -march=$ARCH -ffp-contract=off -fopenmp"
for headers in "$PWD"/.deps/*/usr/include; do # of the libraries that make fetched
    flags="$flags -isystem $headers"
done
shared() { # tree, output
    (cd "$1" && $CC $flags -fPIC -shared -Wl,-Bsymbolic model/arch.c model/device.c model/generate.c model/layout.c \
        model/lora.c model/model.c model/optim.c model/transformer.c model/backend_cpu.c model/backend_ref.c model/cpu/*.c \
        model/base/arena.c model/base/error.c model/base/mem.c model/base/rng.c model/base/clock.c \
        dev/verbs/bench_model.c dev/verbs/bench_ops.c -o "$2" -lm)
}
here=$(pwd)
shared $work/old "$here/$work/old.so"
shared . "$here/$work/new.so"
$CC $flags -Wall -Wextra dev/bench/compare.c -o $work/compare -rdynamic -ldl -lpthread
exec $work/compare $work/old.so $work/new.so "$preset" "$only"
