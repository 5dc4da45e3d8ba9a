// What lies within told capsules, on the grid.
#include <algorithm>
#include <cmath>

#include "cement_place.hpp"
#include "cement_tracker.hpp"

namespace guidance::cement {

std::array<double, 5> Tracker::on_grid(const double* capsule) const {
  const Place place(fit_.motion, setup_);
  const std::array<double, 2> one = place.grid(capsule[0], capsule[1]), two = place.grid(capsule[2], capsule[3]);
  return {one[0], one[1], two[0], two[1], capsule[4] / place.step};
}

void Tracker::mark_capsules(const Capsules& capsules, double margin, std::uint8_t bit) {
  for (std::size_t n = 0; n < capsules.count; ++n) {
    const std::array<double, 5> ends = on_grid(capsules.numbers + 5 * n);
    const auto bits = static_cast<std::uint8_t>(on_shaft(ends) ? bit : bit | kOther);
    const double radius = ends[4] + margin;
    const double along_u = ends[2] - ends[0], along_v = ends[3] - ends[1];
    const double square = along_u * along_u + along_v * along_v;
    const auto bound = [](double value, std::size_t size) {
      return static_cast<std::size_t>(std::clamp(value, 0.0, static_cast<double>(size)));
    };
    const std::size_t first_r = bound(std::floor(std::min(ends[1], ends[3]) - radius), setup_.rows);
    const std::size_t end_r = bound(std::ceil(std::max(ends[1], ends[3]) + radius) + 1.0, setup_.rows);
    const std::size_t first_c = bound(std::floor(std::min(ends[0], ends[2]) - radius), setup_.columns);
    const std::size_t end_c = bound(std::ceil(std::max(ends[0], ends[2]) + radius) + 1.0, setup_.columns);
    for (std::size_t r = first_r; r < end_r; ++r)
      for (std::size_t c = first_c; c < end_c; ++c) {
        const double u = static_cast<double>(c) - ends[0], v = static_cast<double>(r) - ends[1];
        const double part = square > 0.0 ? std::clamp((u * along_u + v * along_v) / square, 0.0, 1.0) : 0.0;
        const double off_u = u - part * along_u, off_v = v - part * along_v;
        if (off_u * off_u + off_v * off_v <= radius * radius) told_[r * setup_.columns + c] |= bits;
      }
  }
}

}  // namespace guidance::cement
