#!/bin/sh
# What products in bf16 would bring on this processor (vdpbf16ps, and AMX where there is one), against fp32.
#   sh dev/bench/bf16.sh [ceilings|check|all]   ceilings, bits, and the products of linear layers: bf16.c
#   sh dev/bench/bf16.sh program                the whole program with such products: prints its path; BF16=dot or amx
#                                               when it runs, one thread (run.threads=1): bf16_rows.c
set -e
cd "$(dirname "$0")/../.."
CC=${CC:-gcc} work=.build/bench
grep -q avx512_bf16 /proc/cpuinfo || {
    echo "bf16.sh: this processor has no avx512_bf16: nothing to compare" >&2
    exit 1
}
mkdir -p $work
flags="-std=c11 -D_GNU_SOURCE -O3 -march=native -ffp-contract=off -fopenmp"
if [ "$1" = program ]; then
    for f in products rows; do $CC $flags -c dev/bench/bf16_$f.c -o $work/bf16_$f.o; done
    wrap=
    for f in alloc release pack adamw linear_forward linear_backward_input linear_backward_weight; do
        wrap="$wrap -Wl,--wrap=cpu_$f"
    done
    make B=$work/bf16 CC="$CC" LDLIBS="\$(DEPS_LIBS) -lm $wrap $work/bf16_rows.o $work/bf16_products.o" $work/bf16/train_rl
    echo $work/bf16/train_rl
    exit
fi
$CC $flags dev/bench/bf16.c dev/bench/bf16_products.c model/backend_cpu.c model/device.c model/backend_ref.c model/cpu/*.c \
    model/base/error.c model/base/mem.c -o $work/bf16_against -lm
exec $work/bf16_against "$@"
