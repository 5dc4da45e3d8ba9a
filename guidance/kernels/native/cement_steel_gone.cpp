// How far a shaft has been pulled back, by what a frame shows along it.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cement_steel.hpp"

namespace guidance::cement {
namespace {

// Of its excess: with less over the bare reference the steel has gone, for nothing else takes away.
constexpr float kAbsent = 0.88F;
constexpr float kLeastAbsent = 0.06F;  // attenuation
constexpr float kDeviations = 5.0F;    // of noise
constexpr float kSideways = 0.5F;      // of what is missing, between both sides: it has moved across itself
constexpr float kMostlyAbsent = 0.7F;  // of the places from there to its tip where no cement lies over it
constexpr float kOver = 1.1F;          // of its excess: cement lies over it
constexpr float kAlike = 0.12F;        // of its excess

}  // namespace

std::size_t gone_from(Shaft& shaft) {
  const std::size_t places = shaft.places();
  const std::size_t wide = std::max<std::size_t>(1, static_cast<std::size_t>(0.5 * shaft.half));
  for (std::size_t n = 0; n < places; ++n) {
    float sum = 0.0F, count = 0.0F;
    for (std::size_t k = n > wide ? n - wide : 0; k <= std::min(n + wide, places - 1); ++k) {
      if (!(shaft.weight[k] > 0.0F) || !(shaft.excess[k] > 0.0F)) continue;
      sum += shaft.over[k] - shaft.excess[k];
      count += 1.0F;
    }
    shaft.smoothed[n] = count > 0.0F ? sum / count : std::numeric_limits<float>::quiet_NaN();
  }
  const auto absent = [&](std::size_t n) {
    const float missing = -shaft.smoothed[n];
    return shaft.excess[n] > 0.0F && missing > (1.0F - kAbsent) * shaft.excess[n] && missing > kLeastAbsent &&
           missing > kDeviations * std::sqrt(shaft.spread[n]) &&
           std::abs(shaft.left[n] - shaft.right[n]) < kSideways * missing;
  };
  std::size_t length = 0;
  for (std::size_t n = 0; n < places; ++n) {
    length = absent(n) ? length + 1 : 0;
    if (length < shaft.run) continue;
    const std::size_t from = n + 1 - length;
    float gone = 0.0F, there = 0.0F;
    for (std::size_t k = from; k < places; ++k) {
      if (!(shaft.weight[k] > 0.0F) || !(shaft.excess[k] > 0.0F)) continue;
      if (shaft.over[k] > kOver * shaft.excess[k]) continue;
      (absent(k) ? gone : there) += 1.0F;
    }
    // Its end is round, and blurred.
    if (gone > kMostlyAbsent * (gone + there)) return std::min(from + wide, places);
  }
  return places;
}

bool stands(const Shaft& shaft, std::size_t place) {
  return std::abs(shaft.smoothed[place]) < kAlike * shaft.excess[place];
}

std::size_t filled_from(const Shaft& shaft, const std::vector<float>& cement) {
  const std::size_t places = shaft.places();
  if (shaft.free + 2 * shaft.run > places) return places;
  float there = 0.0F;
  for (std::size_t n = places - shaft.run; n < places; ++n) there += cement[n] > 0.5F ? 1.0F : 0.0F;
  if (2.0F * there < static_cast<float>(shaft.run)) return places;
  std::size_t length = 0;
  for (std::size_t n = shaft.free; n < places; ++n) {
    length = cement[n] > 0.5F ? length + 1 : 0;
    if (2 * length >= shaft.run) return n + 1 - length;
  }
  return places;
}

bool is_back(const Shaft& shaft) {
  float again = 0.0F, other = 0.0F;
  for (std::size_t n = shaft.free; n < shaft.places(); ++n) {
    if (!(shaft.weight[n] > 0.0F) || !(shaft.excess[n] > 0.0F) || shaft.over[n] > kOver * shaft.excess[n]) continue;
    (stands(shaft, n) ? again : other) += 1.0F;
  }
  return again > kMostlyAbsent * (again + other);
}

}  // namespace guidance::cement
