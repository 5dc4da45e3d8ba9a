// Kernels without Python: raw pointers and sizes; every function is documented where it is defined.
#pragma once

#include <cstddef>
#include <cstdint>

namespace guidance {

// Instruction-set clones chosen at load time; elsewhere the compiler's baseline serves.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define GUIDANCE_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define GUIDANCE_CLONES
#endif

const char* instruction_set();

std::uint64_t crc64(const std::uint8_t* data, std::size_t size, std::uint64_t crc);

}  // namespace guidance
