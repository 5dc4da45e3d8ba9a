// Shear-warp's second pass: the grid of sums, cubic between its samples, seen through the camera's homography.
#include <algorithm>
#include <cmath>

#include "shear_warp.hpp"

namespace guidance {
namespace {

constexpr std::size_t kRun = 64;  // pixels whose places are worked out together

using Four = float __attribute__((vector_size(16)));

Four load(const float* p) {
  Four four;
  __builtin_memcpy(&four, p, sizeof four);
  return four;
}

// Catmull and Rom's cubic: weights of the samples at -1, 0, 1, 2 for a place `part` behind sample 0.
Four cubic(float part) {
  constexpr Four c0{0.0F, 1.0F, 0.0F, 0.0F};
  constexpr Four c1{-0.5F, 0.0F, 0.5F, 0.0F};
  constexpr Four c2{1.0F, -2.5F, 2.0F, -0.5F};
  constexpr Four c3{-0.5F, 1.5F, -1.5F, 0.5F};
  const Four t{part, part, part, part};
  return ((c3 * t + c2) * t + c1) * t + c0;
}

// Value and change per pixel of something linear along a row.
struct Linear {
  float first, step;
  float at(std::size_t n) const { return first + static_cast<float>(n) * step; }
};

}  // namespace

void warp_picture(const ConeRequest& request, const ConeCamera& camera, const ShearWarpPlan& plan, const WarpGrid& grid,
                  float scale, bool positive, std::size_t channel, std::size_t first_row, std::size_t end_row) {
  const int axis = plan.axis;
  const DrrLateral lateral = kDrrLateral[axis];
  const double depth = plan.far_plane - camera.source[axis];
  const double x0 = (camera.source[lateral.b] - plan.x0) / plan.step;
  const double y0 = (camera.source[lateral.a] - plan.y0) / plan.step;
  const DrrVector across = ConeCamera::times(camera.ijk_from_pixel, {request.step_px, 0.0, 0.0});
  const auto last_x = static_cast<float>(grid.columns + 1);
  const auto last_y = static_cast<float>(grid.rows + 1);
  const float lowest = positive ? 0.0F : -3e38F;
  for (std::size_t row = first_row; row < end_row; ++row) {
    float* const out = request.out + (channel * request.rows + row) * request.columns;
    if (grid.columns == 0 || grid.rows == 0) {
      std::fill_n(out, request.columns, 0.0F);
      continue;
    }
    for (std::size_t column = 0; column < request.columns; column += kRun) {
      const std::size_t run = std::min(kRun, request.columns - column);
      const DrrVector step = ConeCamera::times(camera.ijk_from_pixel,
                                               {request.origin_u + request.step_px * static_cast<double>(column),
                                                request.origin_v + request.step_px * static_cast<double>(row), 1.0});
      // Any scale of the matrix: the run's first ray advances one plane.
      const double unit = 1.0 / step[axis];
      const auto linear = [&](double at_first, double per_pixel) {
        return Linear{static_cast<float>(at_first * unit), static_cast<float>(per_pixel * unit)};
      };
      const double to_grid = depth / plan.step;
      const Linear w = linear(step[axis], across[axis]);
      const Linear xw = linear(x0 * step[axis] + to_grid * step[lateral.b], x0 * across[axis] + to_grid * across[lateral.b]);
      const Linear yw = linear(y0 * step[axis] + to_grid * step[lateral.a], y0 * across[axis] + to_grid * across[lateral.a]);
      const DrrVector mm = ConeCamera::times(camera.mm_from_ijk, step);
      const DrrVector mm_across = ConeCamera::times(camera.mm_from_ijk, across);
      const std::array<Linear, 3> length{linear(mm[0], mm_across[0]), linear(mm[1], mm_across[1]),
                                         linear(mm[2], mm_across[2])};
      std::array<float, kRun> x, y, step_mm;
      for (std::size_t n = 0; n < kRun; ++n) {
        const float per_w = 1.0F / w.at(n);
        // Beyond the grid is nothing; a margin of nothing lies around it.
        x[n] = std::min(std::max(xw.at(n) * per_w, -2.0F), last_x);
        y[n] = std::min(std::max(yw.at(n) * per_w, -2.0F), last_y);
        const float a = length[0].at(n) * per_w;
        const float b = length[1].at(n) * per_w;
        const float c = length[2].at(n) * per_w;
        step_mm[n] = std::sqrt(a * a + b * b + c * c) * scale;
      }
      for (std::size_t n = 0; n < run; ++n) {
        const float left = std::floor(x[n]);
        const float top = std::floor(y[n]);
        const Four wx = cubic(x[n] - left);
        const Four wy = cubic(y[n] - top);
        const float* const from = grid.at(static_cast<std::int64_t>(top) - 1, static_cast<std::int64_t>(left) - 1);
        const Four sum = wy[0] * load(from) + wy[1] * load(from + grid.stride) + wy[2] * load(from + 2 * grid.stride) +
                         wy[3] * load(from + 3 * grid.stride);
        const Four product = wx * sum;
        out[column + n] = std::max((product[0] + product[1]) + (product[2] + product[3]), lowest) * step_mm[n];
      }
    }
  }
}

}  // namespace guidance
