// Whether a camera's projection of a volume factorises, along which axis and on which grid.
#include <algorithm>
#include <cmath>

#include "shear_warp.hpp"

namespace guidance {
namespace {

constexpr double kSteepest = 1.6;            // lateral voxels per plane: 58 deg from the main axis
constexpr double kMixed = 0.93;              // of the main axis' part in the middle ray: 43 to 47 deg
constexpr double kMostSamples = 16'777'216;  // of the grid: 64 MiB of sums

struct Span {
  double low = 1e300, high = -1e300;
  void add(double x) {
    low = std::min(low, x);
    high = std::max(high, x);
  }
  void cut(const Span& other) {
    low = std::max(low, other.low);
    high = std::min(high, other.high);
  }
  bool empty() const { return !(low <= high); }
};

// The plan along one axis; how far its steepest ray leans, or a number over kSteepest.
double plan_along(int axis, const std::array<DrrVector, 4>& corners, const ConeCamera& camera,
                  const std::array<std::int64_t, 3>& size_ijk, const DrrBounds& box, ShearWarpPlan& plan) {
  constexpr double kNever = 1e300;
  const bool forwards = corners[0][axis] > 0.0;
  for (const DrrVector& corner : corners)
    if (corner[axis] == 0.0 || (corner[axis] > 0.0) != forwards) return kNever;
  const double source = camera.source[axis];
  // The outermost planes are air.
  const auto lowest = static_cast<double>(std::max(box.first[axis], 1));
  const auto highest = static_cast<double>(std::min<std::int64_t>(box.last[axis], size_ijk[axis] - 2));
  plan.axis = axis;
  plan.first =
      static_cast<std::int64_t>(forwards ? std::clamp(std::floor(source) + 1.0, lowest, highest + 1.0) : lowest);
  plan.end = static_cast<std::int64_t>(forwards ? highest + 1.0 : std::clamp(std::ceil(source), lowest, highest + 1.0));
  plan.columns = plan.rows = 0;
  if (plan.first >= plan.end) return 0.0;
  const double near_plane = static_cast<double>(forwards ? plan.first : plan.end - 1);
  plan.far_plane = static_cast<double>(forwards ? plan.end - 1 : plan.first);
  const double depth = plan.far_plane - source;
  const double nearest = (near_plane - source) / depth;
  plan.step = std::min(2.0 / (1.0 + nearest), kWarpLargestStep);
  const DrrLateral lateral = kDrrLateral[axis];
  double steepest = 0.0;
  std::array<Span, 2> seen;
  for (int n = 0; n < 2; ++n) {
    const int of = n == 0 ? lateral.b : lateral.a;
    const double foot = camera.source[of];
    for (const DrrVector& corner : corners) seen[n].add(foot + depth * corner[of] / corner[axis]);
    seen[n].low -= 3.0 * plan.step;
    seen[n].high += 3.0 * plan.step;
    Span shadow;
    for (const double edge : {box.first[of] - 1.0, box.last[of] + 1.0}) {
      shadow.add(edge);
      shadow.add(foot + (edge - foot) / nearest);
    }
    seen[n].cut(shadow);
    if (seen[n].empty()) return 0.0;
    steepest = std::max({steepest, std::abs((seen[n].low - foot) / depth), std::abs((seen[n].high - foot) / depth)});
  }
  // Near the source's foot all planes are cut at the same parts of a voxel: there the sums have their bends at voxel
  // centres, and so should the grid have its samples. One step is one voxel of the middle plane.
  for (int n = 0; n < 2; ++n) {
    const double foot = camera.source[n == 0 ? lateral.b : lateral.a];
    const double middle = 0.5 * (1.0 + nearest);
    seen[n].low = foot + (std::floor(foot + (seen[n].low - foot) * middle) - foot) / middle;
  }
  const std::array<double, 2> samples{(seen[0].high - seen[0].low) / plan.step + 2.0,
                                      (seen[1].high - seen[1].low) / plan.step + 2.0};
  if (!(samples[0] * samples[1] < kMostSamples)) return kNever;
  plan.x0 = seen[0].low;
  plan.y0 = seen[1].low;
  plan.columns = static_cast<std::int64_t>(samples[0]);
  plan.rows = static_cast<std::int64_t>(samples[1]);
  plan.samples = samples[0] * samples[1];
  return steepest;
}

}  // namespace

ShearWarpPlans::ShearWarpPlans(const ConeRequest& request, const ConeCamera& camera,
                               const std::array<std::int64_t, 3>& size_ijk, const DrrBounds& box) {
  if (box.empty()) {
    first.fits = true;
    return;
  }
  const double right = request.origin_u + request.step_px * (static_cast<double>(request.columns) - 1.0);
  const double below = request.origin_v + request.step_px * (static_cast<double>(request.rows) - 1.0);
  const std::array<DrrVector, 4> corners{
      ConeCamera::times(camera.ijk_from_pixel, {request.origin_u, request.origin_v, 1.0}),
      ConeCamera::times(camera.ijk_from_pixel, {right, request.origin_v, 1.0}),
      ConeCamera::times(camera.ijk_from_pixel, {request.origin_u, below, 1.0}),
      ConeCamera::times(camera.ijk_from_pixel, {right, below, 1.0})};
  // By the ray through the volume's middle: the same for every region of a picture.
  std::array<double, 3> share_of{};
  for (int axis = 0; axis < 3; ++axis)
    share_of[axis] = std::abs(0.5 * static_cast<double>(size_ijk[axis] - 1) - camera.source[axis]);
  std::array<int, 3> order{0, 1, 2};
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return share_of[a] > share_of[b]; });
  std::array<ShearWarpPlan, 3> plans;
  for (int n = 0; n < 3; ++n)
    plans[n].fits = plan_along(order[n], corners, camera, size_ijk, box, plans[n]) <= kSteepest;
  const auto best = std::find_if(plans.begin(), plans.end(), [](const ShearWarpPlan& plan) { return plan.fits; });
  if (best == plans.end()) {
    first.reason = "rays too oblique to every axis of the volume";
    return;
  }
  first = *best;
  if (!plans[0].fits || !plans[1].fits) return;
  // Where two axes are nearly equal the pictures along both are mixed, or a camera that turns through would see a step.
  const double near = (share_of[order[1]] / share_of[order[0]] - kMixed) / (1.0 - kMixed);
  if (!(near > 0.0)) return;
  second = plans[1];
  share = 0.5 * near * near * (3.0 - 2.0 * near);
}

}  // namespace guidance
