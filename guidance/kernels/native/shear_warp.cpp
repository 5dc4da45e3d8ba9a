// Shear-warp's first pass: every plane's samples summed on a grid, tile by tile, so that sums stay in registers.
#include "shear_warp.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>
#include <vector>

#include "shear_warp_lanes.hpp"

namespace guidance {
namespace {

constexpr auto kPlanes = static_cast<std::int64_t>(kDrrBlock);
constexpr auto kWide = static_cast<std::int64_t>(kWarpWide);
constexpr auto kTall = static_cast<std::int64_t>(kWarpTall);
// Rows of voxels that kWarpTall samples at the largest step can touch.
constexpr std::int64_t kMostRows = static_cast<std::int64_t>(kWarpLargestStep * (kWarpTall - 1)) + 3;

std::int64_t rounded_up(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }

// What a band of the grid's rows needs of each plane of a block.
struct Band {
  std::array<float, kDrrBlock> scale;
  std::array<std::int64_t, kDrrBlock> row, rows;  // first row of voxels and how many
  std::array<std::int32_t, kDrrBlock> block;      // where its resampled rows begin, in floats
  std::array<WarpRow, kDrrBlock * kWarpTall> samples;
  float first_row, last_row;  // of the volume, over all planes
};

template <class Work>
void share(unsigned threads, std::size_t pieces, const Work& work) {
  std::atomic<std::size_t> next{0};
  const auto run = [&] {
    for (std::size_t piece; (piece = next.fetch_add(1, std::memory_order_relaxed)) < pieces;) work(piece);
  };
  std::vector<std::jthread> helpers;
  for (unsigned n = 1; n < std::min<std::size_t>(threads, pieces); ++n) helpers.emplace_back(run);
  run();
}

}  // namespace

template <class T>
void ConeVolume<T>::project_shear_warp(const Request& request, const ConeCamera& camera,
                                       const ShearWarpPlan& plan) const {
  const std::size_t knots = request.knot_count;
  WarpGrid grid{plan.columns, plan.rows, 0, 0, nullptr};
  grid.stride = WarpGrid::kLeft + rounded_up(plan.columns, kWide) + WarpGrid::kLeft;
  grid.height = WarpGrid::kTop + rounded_up(plan.rows, kTall) + WarpGrid::kTop + 1;
  const auto plane_of_sums = static_cast<std::size_t>(grid.stride * grid.height);
  // Kept from call to call: fresh pages cost as much as a tenth of a small picture.
  static thread_local std::vector<float> memory;
  if (memory.size() < plane_of_sums * (knots + 1)) memory.resize(plane_of_sums * (knots + 1));
  std::fill_n(memory.begin(), plane_of_sums * knots, 0.0F);
  float* const all_sums = memory.data();

  const DrrLateral lateral = kDrrLateral[plan.axis];
  const PlaneStack<T> stack = stack_along(plan.axis);
  const WarpLoops<T> loops = best_loops<T>(request.isa);
  const double foot_x = camera.source[lateral.b];
  const double foot_y = camera.source[lateral.a];
  const double source = camera.source[plan.axis];
  const double per_depth = 1.0 / (plan.far_plane - source);
  const float limit_y = static_cast<float>(stack.last_a + 1);
  const auto inside = [](float low, float high, std::int64_t size) {
    return high > 0.0F && low < static_cast<float>(size - 1);
  };

  const auto work = [&](std::size_t piece) {
    alignas(64) float resampled[kPlanes * kMostRows * kWide];
    Band band;
    const std::int64_t row0 = static_cast<std::int64_t>(piece) * kTall;
    for (std::int64_t begin = plan.first; begin < plan.end;) {
      const std::int64_t stop = std::min(plan.end, (begin / kPlanes + 1) * kPlanes);
      const std::int64_t planes = stop - begin;
      band.first_row = 1e30F;
      band.last_row = -1e30F;
      std::int32_t used = 0;
      for (std::int64_t n = 0; n < planes; ++n) {
        const double scale = (static_cast<double>(begin + n) - source) * per_depth;
        const double y0 = foot_y + (plan.y0 + plan.step * static_cast<double>(row0) - foot_y) * scale;
        const auto first = static_cast<float>(y0);
        const auto step = static_cast<float>(plan.step * scale);
        band.scale[n] = static_cast<float>(scale);
        band.first_row = std::min(band.first_row, first);
        band.last_row = std::max(band.last_row, first + step * static_cast<float>(kTall - 1));
        std::int32_t index = 0;
        for (std::int64_t r = 0; r < kTall; ++r) {
          const float y = std::min(std::max(first + static_cast<float>(r) * step, 0.0F), limit_y);
          index = std::min(static_cast<std::int32_t>(y), stack.last_a);
          if (r == 0) band.row[n] = index;
          const float part = y - static_cast<float>(index);
          band.samples[n * kTall + r] = {
              1.0F - part, part, used + static_cast<std::int32_t>((index - band.row[n]) * kWide)};
        }
        band.rows[n] = index + 2 - band.row[n];
        band.block[n] = used;
        used += static_cast<std::int32_t>(band.rows[n] * kWide);
      }
      if (!inside(band.first_row, band.last_row, size_ijk_[lateral.a])) {
        begin = stop;
        continue;
      }
      for (std::int64_t column = 0; column < plan.columns; column += kWide) {
        std::array<WarpLine, kDrrBlock> lines;
        float low = 1e30F;
        float high = -1e30F;
        for (std::int64_t n = 0; n < planes; ++n) {
          const double scale = (static_cast<double>(begin + n) - source) * per_depth;
          const double x0 = foot_x + (plan.x0 + plan.step * static_cast<double>(column) - foot_x) * scale;
          lines[n] = {static_cast<float>(x0), static_cast<float>(plan.step * scale), stack.last_b};
          low = std::min(low, lines[n].first);
          high = std::max(high, lines[n].first + lines[n].step * static_cast<float>(kWide - 1));
        }
        if (!inside(low, high, size_ijk_[lateral.b]) ||
            !occupied(plan.axis,
                      {begin, stop - 1, static_cast<std::int64_t>(std::floor(band.first_row)),
                       static_cast<std::int64_t>(std::floor(band.last_row)) + 1,
                       static_cast<std::int64_t>(std::floor(low)), static_cast<std::int64_t>(std::floor(high)) + 1},
                      request.knots[0]))
          continue;
        for (std::int64_t n = 0; n < planes; ++n)
          loops.resample(stack.voxels + (begin + n) * stack.plane_stride + band.row[n] * stack.row_stride,
                         stack.row_stride, band.rows[n], lines[n], resampled + band.block[n]);
        for (std::size_t knot = 0; knot < knots; ++knot) {
          WarpGrid sums = grid;
          sums.sums = all_sums + knot * plane_of_sums;
          for (std::int64_t r = 0; r < kTall; r += static_cast<std::int64_t>(kWarpGroup))
            loops.gather(resampled, band.samples.data() + r, kTall, planes, request.knots[knot] * loops.scale,
                         sums.at(row0 + r, column), grid.stride);
        }
      }
      begin = stop;
    }
  };
  share(request.threads, static_cast<std::size_t>((plan.rows + kTall - 1) / kTall), work);

  for (std::size_t channel = 0; channel < request.channels; ++channel) {
    const float* const coefficients = request.coefficients + channel * knots;
    grid.sums = all_sums;
    float scale = coefficients[0] / loops.scale;
    if (knots > 1) {
      grid.sums = all_sums + knots * plane_of_sums;
      scale = 1.0F / loops.scale;
      std::fill_n(grid.sums, plane_of_sums, 0.0F);
      for (std::size_t knot = 0; knot < knots; ++knot)
        for (std::size_t n = 0; n < plane_of_sums; ++n)
          grid.sums[n] += coefficients[knot] * all_sums[knot * plane_of_sums + n];
    }
    constexpr std::size_t kRows = 32;
    share(request.threads, (request.rows + kRows - 1) / kRows, [&](std::size_t piece) {
      warp_picture(request, camera, plan, grid, scale, knots == 1, channel, piece * kRows,
                   std::min(request.rows, (piece + 1) * kRows));
    });
  }
}

template void ConeVolume<std::int16_t>::project_shear_warp(const Request&, const ConeCamera&,
                                                           const ShearWarpPlan&) const;
template void ConeVolume<float>::project_shear_warp(const Request&, const ConeCamera&, const ShearWarpPlan&) const;

}  // namespace guidance
