/* The CUDA table with its kernels on the host, as an object of its own: what test_cuda_*.c link. */
#include "cuda_host.h"
/* kernels are last: they use the names above */
#include "../train_rl.cu"
