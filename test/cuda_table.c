/* The CUDA table with its kernels on the host, as an object of its own: what test_cuda_*.c link. */
#include "cuda_host.h"
int host_library = HOST_EXACT, host_split_rows[GPU_FEW];
/* kernels are last: they use the names above */
#include "../train_rl.cu"
