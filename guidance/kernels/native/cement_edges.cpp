// Where thick cement ends: a filter carries its rim outwards, as far as the least contrast that counts.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

// Of the most within two pixels. Rounded cement seen through 1 4 6 4 1 has 0.3 at its edge at rest, less where it
// grows.
constexpr float kEdge = 0.24F;
constexpr std::size_t kReach = 2;
constexpr float kBeyond = 3.0F;  // pixels outwards: what is cement there is a thin layer, and no rim

GUIDANCE_CLONES bool any_above(const float* __restrict fine, const float* __restrict level, std::size_t count) {
  std::uint32_t any = 0;
  for (std::size_t n = 0; n < count; ++n) any |= kEdge * fine[n] > level[n] ? 1U : 0U;
  return any != 0;
}

GUIDANCE_CLONES void most_beside(const float* __restrict from, std::size_t count, float* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) {
    const float a = from[n] > from[n + 1] ? from[n] : from[n + 1];
    const float b = from[n + 3] > from[n + 4] ? from[n + 3] : from[n + 4];
    const float c = a > b ? a : b;
    to[n] = c > from[n + 2] ? c : from[n + 2];
  }
}

GUIDANCE_CLONES void most_of(const float* __restrict from, std::size_t count, float* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) to[n] = to[n] > from[n] ? to[n] : from[n];
}

GUIDANCE_CLONES void raise(const float* __restrict edge, const float* __restrict fine, std::size_t count,
                           float* __restrict level, std::uint8_t* __restrict candidate) {
  for (std::size_t n = 0; n < count; ++n) {
    const bool beyond = edge[n] > level[n];
    candidate[n] = beyond && fine[n] <= edge[n] ? 0 : candidate[n];
    level[n] = beyond ? edge[n] : level[n];
  }
}

}  // namespace

void Tracker::find_edges() {
  const std::size_t rows = setup_.rows, columns = setup_.columns;
  std::size_t top = rows, bottom = 0;
  for (std::size_t r = 0; r < rows; ++r)
    if (any_above(fine_.data() + r * columns, level_map_.data() + r * columns, columns)) {
      top = std::min(top, r);
      bottom = r + 1;
    }
  if (bottom == 0) return;
  top = std::max(top, kReach) - kReach;
  bottom = std::min(bottom + kReach, rows);
  for (std::size_t r = top; r < bottom; ++r) {
    float* const to = most_.data() + r * columns;
    std::copy_n(fine_.data() + r * columns, columns, to);
    most_beside(fine_.data() + r * columns, columns - 2 * kReach, to + kReach);
  }
  float* const edge = scratch_.data();
  for (std::size_t r = top; r < bottom; ++r) {
    const std::size_t at = r * columns;
    std::fill_n(edge, columns, 0.0F);
    for (std::size_t n = std::max(r, top + kReach) - kReach; n < std::min(r + kReach + 1, bottom); ++n)
      most_of(most_.data() + n * columns, columns, edge);
    for (std::size_t c = 0; c < columns; ++c) {
      edge[c] *= kEdge;
      // Only what is about to be left out is asked whether there is more of it farther out.
      if (!(edge[c] > level_map_[at + c] && fine_[at + c] > level_map_[at + c] && fine_[at + c] <= edge[c])) continue;
      if (r == 0 || c == 0 || r + 1 == rows || c + 1 == columns) continue;
      const float u = fine_[at + c + 1] - fine_[at + c - 1], v = fine_[at + columns + c] - fine_[at + c - columns];
      const float size = std::hypot(u, v);
      if (!(size > 0.0F)) continue;
      const float out_u = std::nearbyint(static_cast<float>(c) - kBeyond * u / size);
      const float out_v = std::nearbyint(static_cast<float>(r) - kBeyond * v / size);
      if (out_u < 0.0F || out_v < 0.0F || out_u >= static_cast<float>(columns) || out_v >= static_cast<float>(rows))
        continue;
      const std::size_t out = static_cast<std::size_t>(out_v) * columns + static_cast<std::size_t>(out_u);
      if (fine_[out] > level_map_[out]) edge[c] = 0.0F;
    }
    std::copy_n(edge, columns, edges_.data() + at);
  }
  for (std::size_t r = top; r < bottom; ++r)
    raise(edges_.data() + r * columns, fine_.data() + r * columns, columns, level_map_.data() + r * columns,
          candidate_.data() + r * columns);
}

}  // namespace guidance::cement
