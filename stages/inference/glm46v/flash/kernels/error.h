// CUDA errors of a call, kept until the caller asks: the first one tells the cause, and a library does not end the process.

#pragma once

#include <cuda_runtime.h>

namespace glm46v {

inline cudaError_t &first_error() {
    static thread_local cudaError_t error = cudaSuccess;
    return error;
}

inline void keep_error(cudaError_t error) {
    if (first_error() == cudaSuccess) { first_error() = error; }
}

} // namespace glm46v

// The names that the FlashAttention sources use.
#define C10_CUDA_CHECK(EXPR) glm46v::keep_error(EXPR)
#define C10_CUDA_KERNEL_LAUNCH_CHECK() glm46v::keep_error(cudaGetLastError())
