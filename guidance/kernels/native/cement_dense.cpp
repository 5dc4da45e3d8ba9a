// Metal at another voltage: scatter is most of what comes from behind it, and no slope learned on the body holds there.
#include <algorithm>
#include <cmath>

#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

constexpr std::size_t kStride = 7;
constexpr double kBeyond = 3.0;       // times the upper quartile over the middle: what the slope was learned on
constexpr double kLeastSlope = 0.02;  // smaller ones noise makes, and they do little
constexpr double kRescales = 1.25;    // a smaller difference is none

}  // namespace

// The exposure's slope is learned on the body; as far as the reference lies beyond that, it is not known.
void Tracker::doubt_dense(double slope) {
  const double size = std::abs(slope) < kLeastSlope ? 0.0 : std::abs(slope);
  if (size <= kRescales * stretched_ && stretched_ <= kRescales * size) return;
  if (stretched_ == 0.0) {
    const auto sampled = [&] {
      sample(count_, kStride, [&](std::size_t n) { return valid_[n] != 0; }, [&](std::size_t n) { return base_[n]; });
      return sample_.size();
    };
    if (sampled() == 0) return;
    const auto middle = static_cast<double>(middle_of(sample_));
    const auto upper = static_cast<double>(ranked(sample_, 3 * sampled() / 4));
    const auto from = static_cast<float>(middle + kBeyond * (upper - middle));
    for (std::size_t n = 0; n < count_; ++n) dense_[n] = std::max(base_[n] - from, 0.0F);
    for (float& beyond : dense_) beyond *= beyond;
  }
  stretched_ = size;
  displace(displaced_);
}

}  // namespace guidance::cement
