// One of many numbers by its rank, without a branch that noise decides: bit by bit, by counting what lies below.
#include <bit>

#include "cement.hpp"

namespace guidance::cement {
namespace {

// Whole numbers in the same order, kept in the same place.
GUIDANCE_CLONES void to_keys(float* __restrict numbers, std::size_t count) {
  for (std::size_t n = 0; n < count; ++n) {
    const auto bits = std::bit_cast<std::int32_t>(numbers[n]);
    numbers[n] = std::bit_cast<float>(bits ^ ((bits >> 31) & 0x7FFFFFFF));
  }
}

GUIDANCE_CLONES std::uint32_t count_below(const float* keys, std::size_t count, std::int32_t bound) {
  std::uint32_t below = 0;
  for (std::size_t n = 0; n < count; ++n) below += std::bit_cast<std::int32_t>(keys[n]) < bound ? 1U : 0U;
  return below;
}

}  // namespace

float ranked(std::vector<float>& numbers, std::size_t rank) {
  constexpr std::uint32_t kSign = 0x80000000U;
  to_keys(numbers.data(), numbers.size());
  std::uint32_t found = 0;
  for (std::uint32_t bit = kSign; bit != 0; bit >>= 1) {
    const std::uint32_t bound = found | bit;
    if (count_below(numbers.data(), numbers.size(), static_cast<std::int32_t>(bound ^ kSign)) <= rank) found = bound;
  }
  const auto key = static_cast<std::int32_t>(found ^ kSign);
  return std::bit_cast<float>(key ^ ((key >> 31) & 0x7FFFFFFF));
}

}  // namespace guidance::cement
