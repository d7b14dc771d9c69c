/* The tests of test_ops.c with the CUDA table in the CPU's place: every row on random ragged input against the
 * reference, with the same bounds, and a count that none is missing. The kernels run on the host (cuda_host.h), the
 * three thread counts being three orders of threads and blocks. dev/gpu.sh links the same tests with the GPU's table.
 */
#define cpu_ops      cuda_ops
#define SAMPLE_SHARE 10
#include "test_ops.c"
