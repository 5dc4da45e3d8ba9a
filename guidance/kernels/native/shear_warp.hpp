// Cone projection by factorisation: planes scaled and shifted into one grid, then the grid warped into the picture.
//
// Seen from the source, plane k of the main axis maps onto the farthest plane by a scale c(k) and a shift: a sample of
// the grid on that plane is the foot of one ray, and its x depends on the grid's column alone, y on its row alone. So
// Joseph's sum over the planes needs no gathers; the picture is then one homography of the grid.
// P. Lacroute and M. Levoy, Fast volume rendering using a shear-warp factorization, SIGGRAPH 1994.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "drr_camera.hpp"

namespace guidance {

constexpr std::size_t kWarpWide = 32;  // columns of a tile of the grid
constexpr std::size_t kWarpTall = 16;  // rows of a tile
constexpr std::size_t kWarpGroup = 8;  // rows whose sums stay in registers
// Largest step in voxels; up to 1.9, kDrrLanes samples and their neighbours lie within 32 voxels.
constexpr double kWarpLargestStep = 1.3;

struct ShearWarpPlan {
  bool fits = false;
  const char* reason = "";
  int axis = 0;
  std::int64_t first = 0, end = 0;  // planes in front of the source
  double far_plane = 0.0;           // of the grid: scale 1
  double x0 = 0.0, y0 = 0.0;        // the grid's first sample on that plane; x along the contiguous axis
  double step = 1.0;                // between samples, in voxels of the far plane
  std::int64_t columns = 0, rows = 0;
  double samples = 0.0;  // of the grid
};

// The picture is `first`'s, or `share` parts of `second`'s and the rest of `first`'s.
struct ShearWarpPlans {
  ShearWarpPlan first, second;
  double share = 0.0;  // up to a half

  // `box`: outside it the volume counts nothing.
  ShearWarpPlans(const ConeRequest& request, const ConeCamera& camera, const std::array<std::int64_t, 3>& size_ijk,
                 const DrrBounds& box);
};

// The grid of sums, with a margin of nothing for the interpolation.
struct WarpGrid {
  static constexpr std::int64_t kLeft = 16, kTop = 3;
  std::int64_t columns, rows, stride, height;
  float* sums;  // row -kTop, column -kLeft

  float* at(std::int64_t row, std::int64_t column) const { return sums + (row + kTop) * stride + kLeft + column; }
};

// One channel of the picture from its grid: rows [first_row, end_row) of request.out.
void warp_picture(const ConeRequest& request, const ConeCamera& camera, const ShearWarpPlan& plan, const WarpGrid& grid,
                  float scale, bool positive, std::size_t channel, std::size_t first_row, std::size_t end_row);

}  // namespace guidance
