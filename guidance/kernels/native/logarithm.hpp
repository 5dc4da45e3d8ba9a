// A logarithm that vectorises.
#pragma once

#include <bit>
#include <cstdint>

namespace guidance {

// Natural logarithm of positive normal numbers; Abramowitz and Stegun 4.1.44, |error| < 3e-8 on [1, 2).
[[gnu::always_inline]] inline float logarithm(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto exponent = static_cast<float>(static_cast<std::int32_t>(bits >> 23) - 127);
  const float x = std::bit_cast<float>((bits & 0x007FFFFFU) | 0x3F800000U) - 1.0F;
  const float series =
      x * (0.9999964239F +
           x * (-0.4998741238F +
                x * (0.3317990258F +
                     x * (-0.2407338084F +
                          x * (0.1676540711F + x * (-0.0953293897F + x * (0.0360884937F + x * -0.0064535442F)))))));
  return exponent * 0.69314718F + series;
}

}  // namespace guidance
