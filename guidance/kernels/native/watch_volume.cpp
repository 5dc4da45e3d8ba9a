// The projection behind `WatchVolume`: one word per bilinear sample, planes averaged in pairs along the main axis.
#include <algorithm>
#include <cmath>

#include "watch.hpp"

namespace guidance {
namespace {

constexpr std::size_t kLanes = 16;
constexpr std::size_t kRayRows = 8;
constexpr std::int64_t kPlanes = 4;  // of a block that is left out where nothing is in it
constexpr std::int64_t kEdge = 8;    // words
constexpr float kLastPart = 1.0F / 1024.0F;

using Vector = std::array<double, 3>;

// The two lateral axes of a main axis, strided then contiguous.
constexpr std::array<std::array<int, 2>, 3> kLateral{{{2, 1}, {2, 0}, {1, 0}}};

struct Rays {
  alignas(64) std::array<float, kLanes> a, b, da, db;  // position at the reference plane, change per plane
};

// One row of rays through planes [first, end): adds to value sums and to value times plane.
GUIDANCE_CLONES void march(const std::uint32_t* words, std::int64_t plane_words, std::int32_t row_words,
                           std::int64_t first, std::int64_t end, float reference, float last_a, float last_b,
                           const Rays& rays, float* __restrict sums, float* __restrict moments) {
  alignas(64) std::array<float, kLanes> total{}, moment{};
  for (std::int64_t plane = first; plane < end; ++plane) {
    const std::uint32_t* const at = words + plane * plane_words;
    const float along = static_cast<float>(plane) - reference;
    alignas(64) std::array<std::uint32_t, kLanes> cell;
    alignas(64) std::array<float, kLanes> part_a, part_b;
    for (std::size_t l = 0; l < kLanes; ++l) {
      float a = rays.a[l] + along * rays.da[l];
      float b = rays.b[l] + along * rays.db[l];
      a = a > 0.0F ? a : 0.0F;
      b = b > 0.0F ? b : 0.0F;
      a = a < last_a ? a : last_a;
      b = b < last_b ? b : last_b;
      const auto ia = static_cast<std::int32_t>(a);
      const auto ib = static_cast<std::int32_t>(b);
      part_a[l] = a - static_cast<float>(ia);
      part_b[l] = b - static_cast<float>(ib);
      cell[l] = static_cast<std::uint32_t>(ia * row_words + ib);
    }
    for (std::size_t l = 0; l < kLanes; ++l) cell[l] = at[cell[l]];
    for (std::size_t l = 0; l < kLanes; ++l) {
      const auto near_low = static_cast<float>(static_cast<std::int32_t>(cell[l] & 0xFFU));
      const auto near_high = static_cast<float>(static_cast<std::int32_t>((cell[l] >> 8) & 0xFFU));
      const auto far_low = static_cast<float>(static_cast<std::int32_t>((cell[l] >> 16) & 0xFFU));
      const auto far_high = static_cast<float>(static_cast<std::int32_t>(cell[l] >> 24));
      const float near = near_low + part_b[l] * (near_high - near_low);
      const float far = far_low + part_b[l] * (far_high - far_low);
      const float value = near + part_a[l] * (far - near);
      total[l] += value;
      moment[l] += value * along;
    }
  }
  for (std::size_t l = 0; l < kLanes; ++l) {
    sums[l] += total[l];
    moments[l] += moment[l];
  }
}

struct Line {
  float start, change;  // along the row, per lane
};

struct Fan {
  Line main, a, b;
  std::array<Line, 3> mm;
  float source_a, source_b, planes_to_reference;
};

// The rays of one row of bins: where they cross the reference plane, how they go on, mm and depth per plane.
GUIDANCE_CLONES void spread(const Fan& fan, Rays& rays, float* __restrict step_mm, float* __restrict depth_per_plane) {
  for (std::size_t l = 0; l < kLanes; ++l) {
    const auto lane = static_cast<float>(static_cast<std::int32_t>(l));
    const float per_plane = 2.0F / (fan.main.start + lane * fan.main.change);  // w per plane of the stack
    const float slope_a = (fan.a.start + lane * fan.a.change) * per_plane;
    const float slope_b = (fan.b.start + lane * fan.b.change) * per_plane;
    rays.a[l] = fan.source_a + fan.planes_to_reference * slope_a;
    rays.b[l] = fan.source_b + fan.planes_to_reference * slope_b;
    rays.da[l] = slope_a;
    rays.db[l] = slope_b;
    float square = 0.0F;
    for (const Line& line : fan.mm) {
      const float part = line.start + lane * line.change;
      square += part * part;
    }
    step_mm[l] = std::sqrt(square) * std::abs(per_plane);
    depth_per_plane[l] = per_plane;
  }
}

Vector times(const std::array<double, 9>& m, const Vector& x) {
  return {m[0] * x[0] + m[1] * x[1] + m[2] * x[2], m[3] * x[0] + m[4] * x[1] + m[5] * x[2],
          m[6] * x[0] + m[7] * x[1] + m[8] * x[2]};
}

std::array<double, 9> inverse(const std::array<double, 9>& m) {
  const double c0 = m[4] * m[8] - m[5] * m[7];
  const double c1 = m[5] * m[6] - m[3] * m[8];
  const double c2 = m[3] * m[7] - m[4] * m[6];
  const double s = 1.0 / (m[0] * c0 + m[1] * c1 + m[2] * c2);
  return {c0 * s, (m[2] * m[7] - m[1] * m[8]) * s, (m[1] * m[5] - m[2] * m[4]) * s,
          c1 * s, (m[0] * m[8] - m[2] * m[6]) * s, (m[2] * m[3] - m[0] * m[5]) * s,
          c2 * s, (m[1] * m[6] - m[0] * m[7]) * s, (m[0] * m[4] - m[1] * m[3]) * s};
}

}  // namespace

WatchVolume::WatchVolume(const std::int16_t* voxels, std::array<std::size_t, 3> shape_kji,
                         const std::array<double, 12>& lps_from_ijk)
    : lps_from_ijk_(lps_from_ijk) {
  for (int axis = 0; axis < 3; ++axis) size_ijk_[axis] = static_cast<std::int64_t>(shape_kji[2 - axis]);
  const std::size_t count = shape_kji[0] * shape_kji[1] * shape_kji[2];
  std::int16_t largest = 0;
  for (std::size_t n = 0; n < count; ++n) largest = std::max(largest, voxels[n]);
  value_per_count_ = static_cast<float>(largest) / 255.0F;
  for (int axis = 0; axis < 3; ++axis) fill(stacks_[axis], voxels, axis);
}

void WatchVolume::fill(Stack& stack, const std::int16_t* voxels, int axis) const {
  const auto [axis_a, axis_b] = kLateral[axis];
  const std::array<std::int64_t, 3> stride{1, size_ijk_[0], size_ijk_[0] * size_ijk_[1]};
  const std::int64_t na = size_ijk_[axis_a];
  const std::int64_t nb = size_ijk_[axis_b];
  stack.planes = (size_ijk_[axis] + 1) / 2;
  stack.lateral_a = na + 1;
  stack.lateral_b = nb + 1;
  stack.words.resize(static_cast<std::size_t>(stack.planes * stack.lateral_a * stack.lateral_b));
  stack.blocks_a = (stack.lateral_a + kEdge - 1) / kEdge;
  stack.blocks_b = (stack.lateral_b + kEdge - 1) / kEdge;
  const std::int64_t plane_blocks = (stack.planes + kPlanes - 1) / kPlanes;
  stack.occupied.assign(static_cast<std::size_t>(plane_blocks * stack.blocks_a * stack.blocks_b), 0);
  if (value_per_count_ <= 0.0F) return;
  const float count_per_value = 0.5F / value_per_count_;  // of a pair of planes
  std::vector<std::uint8_t> plane(static_cast<std::size_t>((na + 2) * (nb + 2)));
  for (std::int64_t p = 0; p < stack.planes; ++p) {
    const std::int16_t* const near = voxels + 2 * p * stride[axis];
    const bool paired = 2 * p + 1 < size_ijk_[axis];
    for (std::int64_t a = 0; a < na; ++a)
      for (std::int64_t b = 0; b < nb; ++b) {
        const std::int64_t at = a * stride[axis_a] + b * stride[axis_b];
        const int value = std::max<int>(near[at], 0) + (paired ? std::max<int>(near[at + stride[axis]], 0) : 0);
        plane[static_cast<std::size_t>((a + 1) * (nb + 2) + b + 1)] =
            static_cast<std::uint8_t>(std::min(static_cast<float>(value) * count_per_value + 0.5F, 255.0F));
      }
    for (std::int64_t a = 0; a <= na; ++a)
      for (std::int64_t b = 0; b <= nb; ++b) {
        const std::uint8_t* const corner = plane.data() + a * (nb + 2) + b;
        const std::uint32_t word =
            corner[0] | corner[1] << 8 | corner[nb + 2] << 16 | static_cast<std::uint32_t>(corner[nb + 3]) << 24;
        stack.words[static_cast<std::size_t>((p * stack.lateral_a + a) * stack.lateral_b + b)] = word;
        if (word != 0)
          stack.occupied[static_cast<std::size_t>(((p / kPlanes) * stack.blocks_a + a / kEdge) * stack.blocks_b +
                                                  b / kEdge)] = 1;
      }
  }
}

void WatchVolume::project(const View& view, float* sums, float* moments) const {
  std::fill_n(sums, view.rows * view.columns, 0.0F);
  std::fill_n(moments, view.rows * view.columns, 0.0F);
  const auto& p = view.pixel_from_lps;
  const auto& m = lps_from_ijk_;
  const std::array<double, 9> lps_from_pixel = inverse({p[0], p[1], p[2], p[4], p[5], p[6], p[8], p[9], p[10]});
  const std::array<double, 9> mm_from_ijk{m[0], m[1], m[2], m[4], m[5], m[6], m[8], m[9], m[10]};
  const std::array<double, 9> ijk_from_mm = inverse(mm_from_ijk);
  const Vector source_lps = times(lps_from_pixel, {-p[3], -p[7], -p[11]});
  const Vector source = times(ijk_from_mm, {source_lps[0] - m[3], source_lps[1] - m[7], source_lps[2] - m[11]});
  const auto direction_lps = [&](double row, double column) {
    return times(lps_from_pixel, {view.origin_u + view.step_px * column, view.origin_v + view.step_px * row, 1.0});
  };
  const double middle_row = 0.5 * static_cast<double>(view.rows - 1);
  const double middle_column = 0.5 * static_cast<double>(view.columns - 1);
  const Vector middle = times(ijk_from_mm, direction_lps(middle_row, middle_column));
  int axis = 0;
  for (int other = 1; other < 3; ++other)
    if (std::abs(middle[other]) > std::abs(middle[axis])) axis = other;
  const Stack& stack = stacks_[axis];
  const int axis_a = kLateral[axis][0];
  const int axis_b = kLateral[axis][1];
  // Plane n of the stack lies at index 2 n + 0.5 of the volume.
  const double source_plane = (source[axis] - 0.5) / 2.0;
  if (value_per_count_ <= 0.0F || !std::isfinite(middle[axis]) || middle[axis] == 0.0) return;
  if (source_plane > -1.0 && source_plane < static_cast<double>(stack.planes)) return;
  if ((source_plane < 0.0) != (middle[axis] > 0.0)) return;  // the volume is behind the source
  const double reference = 0.5 * static_cast<double>(stack.planes);
  const auto last_a = static_cast<float>(stack.lateral_a) - kLastPart;
  const auto last_b = static_cast<float>(stack.lateral_b) - kLastPart;

  for (std::size_t row0 = 0; row0 < view.rows; row0 += kRayRows)
    for (std::size_t column0 = 0; column0 < view.columns; column0 += kLanes) {
      const std::size_t rows = std::min(kRayRows, view.rows - row0);
      const std::size_t columns = std::min(kLanes, view.columns - column0);
      std::array<Rays, kRayRows> rays;
      std::array<std::array<float, kLanes>, kRayRows> step_mm, depth_per_plane;
      bool usable = true;
      for (std::size_t r = 0; r < rows; ++r) {
        // Directions are linear along a row.
        const Vector mm0 = direction_lps(static_cast<double>(row0 + r), static_cast<double>(column0));
        const Vector mm1 = direction_lps(static_cast<double>(row0 + r), static_cast<double>(column0 + 1));
        const Vector d0 = times(ijk_from_mm, mm0);
        const Vector d1 = times(ijk_from_mm, mm1);
        const auto along = [&](const Vector& x0, const Vector& x1, int n) {
          return Line{static_cast<float>(x0[n]), static_cast<float>(x1[n] - x0[n])};
        };
        usable =
            usable && (d0[axis] + 15.0 * (d1[axis] - d0[axis])) * middle[axis] > 0.0 && d0[axis] * middle[axis] > 0.0;
        const Fan fan{along(d0, d1, axis),
                      along(d0, d1, axis_a),
                      along(d0, d1, axis_b),
                      {along(mm0, mm1, 0), along(mm0, mm1, 1), along(mm0, mm1, 2)},
                      static_cast<float>(source[axis_a] + 1.0),
                      static_cast<float>(source[axis_b] + 1.0),
                      static_cast<float>(reference - source_plane)};
        spread(fan, rays[r], step_mm[r].data(), depth_per_plane[r].data());
      }
      if (!usable) continue;
      alignas(64) std::array<std::array<float, kLanes>, kRayRows> total{}, moment{};
      for (std::int64_t begin = 0; begin < stack.planes; begin += kPlanes) {
        const std::int64_t end = std::min(begin + kPlanes, stack.planes);
        std::array<float, 4> reach{1e9F, -1e9F, 1e9F, -1e9F};
        for (const std::size_t r : {std::size_t{0}, rows - 1})
          for (const std::size_t l : {std::size_t{0}, columns - 1})
            for (const std::int64_t plane : {begin, end - 1}) {
              const auto along = static_cast<float>(static_cast<double>(plane) - reference);
              const float a = rays[r].a[l] + along * rays[r].da[l];
              const float b = rays[r].b[l] + along * rays[r].db[l];
              reach = {std::min(reach[0], a), std::max(reach[1], a), std::min(reach[2], b), std::max(reach[3], b)};
            }
        if (reach[1] <= 0.0F || reach[3] <= 0.0F || reach[0] >= last_a || reach[2] >= last_b) continue;
        const auto block = [](float at, std::int64_t blocks) {
          return std::clamp<std::int64_t>(static_cast<std::int64_t>(at) / kEdge, 0, blocks - 1);
        };
        const std::int64_t a0 = block(std::max(reach[0], 0.0F), stack.blocks_a);
        const std::int64_t a1 = block(std::min(reach[1], last_a), stack.blocks_a);
        const std::int64_t b0 = block(std::max(reach[2], 0.0F), stack.blocks_b);
        const std::int64_t b1 = block(std::min(reach[3], last_b), stack.blocks_b);
        bool any = false;
        for (std::int64_t a = a0; a <= a1 && !any; ++a)
          for (std::int64_t b = b0; b <= b1 && !any; ++b)
            any = stack.occupied[static_cast<std::size_t>(((begin / kPlanes) * stack.blocks_a + a) * stack.blocks_b +
                                                          b)] != 0;
        if (!any) continue;
        for (std::size_t r = 0; r < rows; ++r)
          march(stack.words.data(), stack.lateral_a * stack.lateral_b, static_cast<std::int32_t>(stack.lateral_b),
                begin, end, static_cast<float>(reference), last_a, last_b, rays[r], total[r].data(), moment[r].data());
      }
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t l = 0; l < columns; ++l) {
          const float length = step_mm[r][l] * value_per_count_;
          const std::size_t at = (row0 + r) * view.columns + column0 + l;
          const float reference_depth =
              static_cast<float>(reference - source_plane) * depth_per_plane[r][l] - static_cast<float>(view.depth_mm);
          sums[at] = total[r][l] * length;
          moments[at] = (moment[r][l] * depth_per_plane[r][l] + total[r][l] * reference_depth) * length;
        }
    }
}

}  // namespace guidance
