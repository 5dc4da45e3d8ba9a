// Shear-warp's first pass: every plane's samples summed on a grid, tile by tile, so that sums stay in registers.
#include "shear_warp.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>

#include "shear_warp_lanes.hpp"

namespace guidance {
namespace {

constexpr auto kPlanes = static_cast<std::int64_t>(kDrrBlock);
constexpr auto kWide = static_cast<std::int64_t>(kWarpWide);
constexpr auto kTall = static_cast<std::int64_t>(kWarpTall);
constexpr double kBoxMargin = 0.01;  // voxels; rounding of a float32 position
// Rows of voxels that kWarpTall samples at the largest step can touch.
constexpr std::int64_t kMostRows = static_cast<std::int64_t>(kWarpLargestStep * (kWarpTall - 1)) + 3;

std::int64_t rounded_up(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }

// Every piece of the first pass is done before any of the second begins.
template <class First, class Second>
void in_two_passes(unsigned threads, std::size_t first_pieces, const First& first, std::size_t second_pieces,
                   const Second& second) {
  const std::size_t team =
      std::clamp<std::size_t>(threads, 1, std::max<std::size_t>({first_pieces, second_pieces, std::size_t{1}}));
  std::atomic<std::size_t> next_first{0};
  std::atomic<std::size_t> next_second{0};
  std::barrier done(static_cast<std::ptrdiff_t>(team));
  const auto work = [&] {
    for (std::size_t piece; (piece = next_first.fetch_add(1, std::memory_order_relaxed)) < first_pieces;) first(piece);
    done.arrive_and_wait();
    for (std::size_t piece; (piece = next_second.fetch_add(1, std::memory_order_relaxed)) < second_pieces;)
      second(piece);
  };
  std::vector<std::jthread> helpers;
  for (std::size_t n = 1; n < team; ++n) helpers.emplace_back(work);
  work();
}

// The source over the grid: plane k is seen at `scale(k)` of the grid's size.
struct Sight {
  double foot_x, foot_y, source, per_depth;
  double scale(std::int64_t plane) const { return (static_cast<double>(plane) - source) * per_depth; }
};

// Least and largest of a place on the grid's plane, seen in the two outermost planes of a block.
struct Reach {
  double low, high;
  Reach(double foot, double from, double to, double scale_a, double scale_b)
      : low(foot + std::min((from - foot) * scale_a, (from - foot) * scale_b)),
        high(foot + std::max((to - foot) * scale_a, (to - foot) * scale_b)) {}
};

}  // namespace

// Tiles of kWarpTall x kWarpWide samples, kDrrBlock planes at a time: the rows of voxels that they need are resampled
// into a block in the first cache, from which kWarpGroup rows of sums are gathered in registers.
template <class T>
void ConeVolume<T>::project_shear_warp(const Request& request, const ConeCamera& camera, const ShearWarpPlan& plan,
                                       const DrrOccupancy& occupancy) const {
  const std::size_t knots = request.knot_count;
  WarpGrid grid{plan.columns, plan.rows, 0, 0, nullptr};
  grid.stride = WarpGrid::kLeft + rounded_up(plan.columns, kWide) + WarpGrid::kLeft;
  grid.height = WarpGrid::kTop + rounded_up(plan.rows, kTall) + WarpGrid::kTop + 1;
  const auto plane_of_sums = static_cast<std::size_t>(grid.stride * grid.height);
  // Kept from call to call: fresh pages cost as much as a tenth of a small picture.
  static thread_local std::vector<float> memory;
  const std::size_t grids = knots == 1 ? 1 : knots + request.channels;
  if (memory.size() < plane_of_sums * grids) memory.resize(plane_of_sums * grids);
  std::fill_n(memory.begin(), plane_of_sums * grids, 0.0F);
  float* const all_sums = memory.data();

  const DrrLateral lateral = kDrrLateral[plan.axis];
  const PlaneStack<T> stack = stack_along(plan.axis);
  const WarpLoops<T> loops = best_loops<T>(request.isa);
  const Sight sight{camera.source[lateral.b], camera.source[lateral.a], camera.source[plan.axis],
                    1.0 / (plan.far_plane - camera.source[plan.axis])};
  const std::int64_t ahead = kPlanes * stack.plane_stride * static_cast<std::int64_t>(sizeof(T));

  const auto sum_band = [&](std::size_t piece) {
    alignas(64) float resampled[kPlanes * kMostRows * kWide];
    std::array<WarpRows, kDrrBlock> rows;
    std::array<std::int32_t, kDrrBlock> first_row, row_count, block;
    std::array<double, kDrrBlock> scale;
    const std::int64_t row0 = static_cast<std::int64_t>(piece) * kTall;
    const double y0 = plan.y0 + plan.step * static_cast<double>(row0);
    const double y1 = y0 + plan.step * static_cast<double>(kTall - 1);
    for (std::int64_t begin = plan.first, stop; begin < plan.end; begin = stop) {
      stop = std::min(plan.end, (begin / kPlanes + 1) * kPlanes);
      const DrrBounds& slab = occupancy.slabs[plan.axis][static_cast<std::size_t>(begin / kPlanes)];
      if (slab.empty()) continue;
      const double scale_a = sight.scale(begin);
      const double scale_b = sight.scale(stop - 1);
      const Reach y(sight.foot_y, y0, y1, scale_a, scale_b);
      if (y.high <= slab.first[lateral.a] - 1.0 || y.low >= slab.last[lateral.a] + 1.0) continue;
      const std::int64_t planes = stop - begin;
      std::int32_t used = 0;
      for (std::int64_t n = 0; n < planes; ++n) {
        scale[n] = sight.scale(begin + n);
        const WarpLine line{static_cast<float>(sight.foot_y + (y0 - sight.foot_y) * scale[n]),
                            static_cast<float>(plan.step * scale[n]), stack.last_a, 0};
        block[n] = used;
        loops.place(line, used, rows[n], first_row[n], row_count[n]);
        used += row_count[n] * static_cast<std::int32_t>(kWide);
      }
      const double smallest = std::min(scale_a, scale_b);
      const double largest = std::max(scale_a, scale_b);
      const auto seen_at = [&](double x, double edge_scale) { return sight.foot_x + (x - sight.foot_x) / edge_scale; };
      const double left = slab.first[lateral.b] - 1.0;
      const double right = slab.last[lateral.b] + 1.0;
      const double from = std::min(seen_at(left, smallest), seen_at(left, largest));
      const double to = std::max(seen_at(right, smallest), seen_at(right, largest));
      const auto columns = static_cast<double>(plan.columns);
      const double from_column = std::clamp((from - plan.x0) / plan.step, 0.0, columns);
      const std::int64_t first_column = static_cast<std::int64_t>(from_column) / kWide * kWide;
      const double end_column = std::min(columns, (to - plan.x0) / plan.step + 1.0);
      for (std::int64_t column = first_column; static_cast<double>(column) < end_column; column += kWide) {
        const double x0 = plan.x0 + plan.step * static_cast<double>(column);
        const Reach x(sight.foot_x, x0, x0 + plan.step * static_cast<double>(kWide - 1), scale_a, scale_b);
        if (!occupied(plan.axis,
                      {begin, stop - 1, static_cast<std::int64_t>(std::floor(y.low - kBoxMargin)),
                       static_cast<std::int64_t>(std::floor(y.high + kBoxMargin)) + 1,
                       static_cast<std::int64_t>(std::floor(x.low - kBoxMargin)),
                       static_cast<std::int64_t>(std::floor(x.high + kBoxMargin)) + 1},
                      request.knots[0]))
          continue;
        for (std::int64_t n = 0; n < planes; ++n) {
          const WarpLine line{static_cast<float>(sight.foot_x + (x0 - sight.foot_x) * scale[n]),
                              static_cast<float>(plan.step * scale[n]), stack.last_b, ahead};
          loops.resample(stack.voxels + (begin + n) * stack.plane_stride +
                             static_cast<std::int64_t>(first_row[n]) * stack.row_stride,
                         stack.row_stride, row_count[n], line, resampled + block[n]);
        }
        for (std::size_t knot = 0; knot < knots; ++knot) {
          WarpGrid sums = grid;
          sums.sums = all_sums + knot * plane_of_sums;
          for (std::size_t r = 0; r < kWarpTall; r += kWarpGroup)
            loops.gather(resampled, rows.data(), r, planes, request.knots[knot] * loops.scale,
                         sums.at(row0 + static_cast<std::int64_t>(r), column), grid.stride);
        }
      }
    }
    // Materials are linear in the knots' sums.
    for (std::size_t channel = 0; knots > 1 && channel < request.channels; ++channel)
      for (std::int64_t row = row0; row < row0 + kTall; ++row)
        for (std::size_t knot = 0; knot < knots; ++knot) {
          WarpGrid of = grid;
          of.sums = all_sums + knot * plane_of_sums;
          const float* const sum = of.at(row, 0);
          of.sums = all_sums + (knots + channel) * plane_of_sums;
          float* const amount = of.at(row, 0);
          const float coefficient = request.coefficients[channel * knots + knot];
          for (std::int64_t n = 0; n < plan.columns; ++n) amount[n] += coefficient * sum[n];
        }
  };
  constexpr std::size_t kStrip = 32;
  const auto warp_strip = [&](std::size_t piece) {
    for (std::size_t channel = 0; channel < request.channels; ++channel) {
      WarpGrid of = grid;
      of.sums = all_sums + (knots == 1 ? 0 : knots + channel) * plane_of_sums;
      const float scale = (knots == 1 ? request.coefficients[channel] : 1.0F) / loops.scale;
      warp_picture(request, camera, plan, of, scale, knots == 1, channel, piece * kStrip,
                   std::min(request.rows, (piece + 1) * kStrip));
    }
  };
  in_two_passes(request.threads, static_cast<std::size_t>((plan.rows + kTall - 1) / kTall), sum_band,
                (request.rows + kStrip - 1) / kStrip, warp_strip);
}

template void ConeVolume<std::int16_t>::project_shear_warp(const Request&, const ConeCamera&, const ShearWarpPlan&,
                                                           const DrrOccupancy&) const;
template void ConeVolume<float>::project_shear_warp(const Request&, const ConeCamera&, const ShearWarpPlan&,
                                                    const DrrOccupancy&) const;

}  // namespace guidance
