#!/bin/sh
# The products of linear layers against Debian's OpenBLAS, which is fetched into .build/bench and used for nothing else.
#   sh dev/bench/blas.sh [PATH/libopenblas.so.0]
set -e
cd "$(dirname "$0")/../.."
CC=${CC:-gcc} work=$(pwd)/.build/bench lib=$1
mkdir -p $work/blas
if [ -z "$lib" ]; then
    [ -e $work/blas/usr ] || (cd $work/blas && apt-get download libopenblas0-pthread libgfortran5 >/dev/null &&
        for package in *.deb; do dpkg -x "$package" .; done)
    lib=$(find $work/blas -name 'libopenblas*.so.0' | head -n 1)
fi
$CC -std=c11 -D_GNU_SOURCE -O3 -march=native -ffp-contract=off -fopenmp dev/bench/blas.c model/backend_cpu.c model/device.c \
    model/backend_ref.c model/cpu/*.c model/base/error.c model/base/mem.c -o $work/blas_against -lm -ldl
echo "$lib"
# A build older than the processor takes it for the oldest one there is: name the kernels for its instructions.
core=${OPENBLAS_CORETYPE:-$(grep -q avx512f /proc/cpuinfo && echo SkylakeX || echo Haswell)}
exec env -u OPENBLAS_L2_SIZE OPENBLAS_CORETYPE=$core OPENBLAS_NUM_THREADS=1 \
    LD_LIBRARY_PATH="$(dirname "$(find $work/blas -name 'libgfortran.so.5' | head -n 1)")" $work/blas_against "$lib"
