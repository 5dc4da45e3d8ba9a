// An exponential that vectorises.
#pragma once

#include <bit>
#include <cstdint>

namespace guidance {

// Of numbers in [-87, 88]; Cephes' expf, relative error below 2e-7.
[[gnu::always_inline]] inline float exponential(float value) {
  constexpr float kRounds = 12582912.0F;  // 1.5 * 2^23: what is added to it loses its fraction
  const float whole = (value * 1.44269504F + kRounds) - kRounds;
  const float x = (value - whole * 0.693359375F) + whole * 2.12194440e-4F;  // ln 2 in two parts
  const float series =
      0.5F +
      x * (0.166666655F + x * (0.0416657959F + x * (0.00833345209F + x * (0.00139819995F + x * 1.98756915e-4F))));
  const auto power = static_cast<std::uint32_t>(static_cast<std::int32_t>(whole) + 127) << 23;
  return (1.0F + x + x * x * series) * std::bit_cast<float>(power);
}

}  // namespace guidance
