// Shear-warp's second pass: the grid of sums, cubic between its samples, seen through the camera's homography.
#include <algorithm>
#include <cmath>

#include "shear_warp.hpp"

namespace guidance {
namespace {

constexpr std::size_t kRun = 64;  // pixels whose places are worked out together

// Value and change per pixel of something linear along a row.
struct Linear {
  float first, step;
  float at(std::int32_t n) const { return first + static_cast<float>(n) * step; }
};

// Where a run of pixels lies on the grid, and its rays' way from plane to plane: all to be divided by w.
struct RunPlaces {
  Linear w, x, y;
  Linear length[3];      // mm
  float last_x, last_y;  // beyond them is nothing; counted from 2 samples before the grid
};

namespace portable_run {
#include "shear_warp_run.inc"
}
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GUIDANCE_RUN_X86 1
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2_run {
#include "shear_warp_run.inc"
}
#pragma GCC pop_options
#endif

using WarpRun = void (*)(const RunPlaces&, const WarpGrid&, float, float, std::size_t, float*);

WarpRun best_run(DrrIsa isa) {
#ifdef GUIDANCE_RUN_X86
  if (isa != DrrIsa::kPortable && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return avx2_run::warp_run;
#endif
  (void)isa;
  return portable_run::warp_run;
}

}  // namespace

void warp_picture(const ConeRequest& request, const ConeCamera& camera, const ShearWarpPlan& plan, const WarpGrid& grid,
                  float scale, bool positive, std::size_t channel, std::size_t first_row, std::size_t end_row) {
  const WarpRun warp_run = best_run(request.isa);
  const int axis = plan.axis;
  const DrrLateral lateral = kDrrLateral[axis];
  const double to_grid = (plan.far_plane - camera.source[axis]) / plan.step;
  const double x0 = (camera.source[lateral.b] - plan.x0) / plan.step;
  const double y0 = (camera.source[lateral.a] - plan.y0) / plan.step;
  const DrrVector across = ConeCamera::times(camera.ijk_from_pixel, {request.step_px, 0.0, 0.0});
  const DrrVector across_mm = ConeCamera::times(camera.mm_from_ijk, across);
  const float lowest = positive ? 0.0F : -3e38F;
  for (std::size_t row = first_row; row < end_row; ++row) {
    float* const out = request.out + (channel * request.rows + row) * request.columns;
    if (grid.columns == 0 || grid.rows == 0) {
      std::fill_n(out, request.columns, 0.0F);
      continue;
    }
    for (std::size_t column = 0; column < request.columns; column += kRun) {
      const DrrVector step = ConeCamera::times(camera.ijk_from_pixel,
                                               {request.origin_u + request.step_px * static_cast<double>(column),
                                                request.origin_v + request.step_px * static_cast<double>(row), 1.0});
      const DrrVector step_mm = ConeCamera::times(camera.mm_from_ijk, step);
      // The matrix may have any scale: the run's first ray advances one plane.
      const double unit = 1.0 / step[axis];
      const auto linear = [&](double first, double change) {
        return Linear{static_cast<float>(first * unit), static_cast<float>(change * unit)};
      };
      const auto on_grid = [&](double origin, int of) {
        return linear(origin * step[axis] + to_grid * step[of], origin * across[axis] + to_grid * across[of]);
      };
      const RunPlaces places{
          linear(step[axis], across[axis]),
          on_grid(x0, lateral.b),
          on_grid(y0, lateral.a),
          {linear(step_mm[0], across_mm[0]), linear(step_mm[1], across_mm[1]), linear(step_mm[2], across_mm[2])},
          static_cast<float>(grid.columns + 3),
          static_cast<float>(grid.rows + 3)};
      const std::size_t count = std::min(kRun, request.columns - column);
      if (count % 4 == 0) {
        warp_run(places, grid, scale, lowest, count, out + column);
      } else {
        alignas(64) float last[kRun];
        warp_run(places, grid, scale, lowest, count, last);
        std::copy_n(last, count, out + column);
      }
    }
  }
}

}  // namespace guidance
