/* The tests of test_ops_exact.c with the CUDA table in the CPU's place: what it promises bit for bit, and the laws of
 * sampling. A product's sum is cut into chains of 64 (model/cuda/cuda.cuh). */
#define PRODUCT_PIECE 64
#define DRAWS         100 /* few: a draw is a block of threads */
#define SLOTS         40
#define cpu_ops       cuda_ops
#include "test_ops_exact.c"
