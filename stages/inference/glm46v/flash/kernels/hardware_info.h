// The card's capability, as the launch templates ask for it. An error is kept, see error.h.

#pragma once

#include <tuple>

#include "error.h"

inline int get_current_device() {
    int device = 0;
    C10_CUDA_CHECK(cudaGetDevice(&device));
    return device;
}

inline std::tuple<int, int> get_compute_capability(int device) {
    int major = 0, minor = 0;
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    return {major, minor};
}
