// Cone-beam line integrals after Joseph (IEEE TMI 1(3), 1982): one bilinear sample per plane of the main axis.
#include "drr.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <thread>
#include <type_traits>

#include "drr_camera.hpp"
#include "drr_march.hpp"
#include "shear_warp.hpp"

namespace guidance {
namespace {

constexpr std::size_t kTile = 16;    // px; a tile's rays stay within a few voxels, hence in the first cache
constexpr double kSteepest = 0.35;   // least share of the main axis in a ray's largest index step
constexpr double kRayWorth = 6.0;    // samples of shear-warp that cost as much as one of a ray
constexpr double kBoxMargin = 0.01;  // voxels; rounding of a ray's float32 position
static_assert(kTile == kDrrLanes);

int main_axis(const DrrVector& step) {
  int axis = 0;
  for (int other = 1; other < 3; ++other)
    if (std::abs(step[other]) > std::abs(step[axis])) axis = other;
  return axis;
}

}  // namespace

template <class T>
ConeVolume<T>::ConeVolume(const T* voxels, std::array<std::size_t, 3> shape_kji, T nothing) {
  for (int axis = 0; axis < 3; ++axis) {
    size_ijk_[axis] = static_cast<std::int64_t>(shape_kji[2 - axis]) + 2;
    blocks_ijk_[axis] = (size_ijk_[axis] + static_cast<std::int64_t>(kDrrBlock) - 1) / kDrrBlock;
  }
  const auto [ni, nj, nk] = size_ijk_;
  if (static_cast<double>(ni) * nj * nk >= static_cast<double>(std::numeric_limits<std::int32_t>::max()))
    throw std::invalid_argument("the volume has too many voxels (2^31 at most)");
  kji_.assign(static_cast<std::size_t>(ni * nj * nk) + kDrrOverread, nothing);
  for (std::int64_t k = 1; k < nk - 1; ++k)
    for (std::int64_t j = 1; j < nj - 1; ++j) {
      const T* const row = voxels + ((k - 1) * (nj - 2) + (j - 1)) * (ni - 2);
      std::copy(row, row + ni - 2, kji_.begin() + (k * nj + j) * ni + 1);
    }
  block_largest_.assign(static_cast<std::size_t>(blocks_ijk_[0] * blocks_ijk_[1] * blocks_ijk_[2]),
                        static_cast<float>(nothing));
  for (std::int64_t k = 0; k < nk; ++k)
    for (std::int64_t j = 0; j < nj; ++j) {
      const T* const row = kji_.data() + (k * nj + j) * ni;
      float* const blocks = block_largest_.data() + ((k / static_cast<std::int64_t>(kDrrBlock)) * blocks_ijk_[1] +
                                                     j / static_cast<std::int64_t>(kDrrBlock)) *
                                                        blocks_ijk_[0];
      for (std::int64_t i = 0; i < ni; ++i) {
        float& largest = blocks[i / static_cast<std::int64_t>(kDrrBlock)];
        if constexpr (std::is_floating_point_v<T>)
          if (!std::isfinite(row[i])) throw std::invalid_argument("voxels must be finite");
        largest = std::max(largest, static_cast<float>(row[i]));
      }
    }
}

template <class T>
PlaneStack<T> ConeVolume<T>::stack_along(int axis) const {
  const auto [ni, nj, nk] = size_ijk_;
  const auto last = [&](int lateral) { return static_cast<std::int32_t>(size_ijk_[lateral] - 2); };
  if (axis == 2) return {kji_.data(), nj * ni, static_cast<std::int32_t>(ni), last(1), last(0)};
  if (axis == 1) return {kji_.data(), ni, static_cast<std::int32_t>(nj * ni), last(2), last(0)};
  std::call_once(ikj_made_, [&, ni = ni, nj = nj, nk = nk] {
    ikj_.resize(kji_.size());
    constexpr std::int64_t kEdge = 16;  // both sides of the transposition stay in cache
    for (std::int64_t k = 0; k < nk; ++k)
      for (std::int64_t j0 = 0; j0 < nj; j0 += kEdge)
        for (std::int64_t i = 0; i < ni; ++i)
          for (std::int64_t j = j0; j < std::min(j0 + kEdge, nj); ++j)
            ikj_[static_cast<std::size_t>((i * nk + k) * nj + j)] =
                kji_[static_cast<std::size_t>((k * nj + j) * ni + i)];
  });
  return {ikj_.data(), nk * nj, static_cast<std::int32_t>(nj), last(2), last(1)};
}

template <class T>
std::shared_ptr<const DrrOccupancy> ConeVolume<T>::occupancy(float threshold) const {
  {
    const std::lock_guard lock(occupancy_lock_);
    if (occupancy_ && occupancy_->threshold == threshold) return occupancy_;
  }
  auto made = std::make_shared<DrrOccupancy>();
  made->threshold = threshold;
  for (int axis = 0; axis < 3; ++axis) made->slabs[axis].resize(static_cast<std::size_t>(blocks_ijk_[axis]));
  const auto add = [&](DrrBounds& bounds, const std::array<std::int64_t, 3>& block) {
    const bool first = bounds.empty();
    for (int axis = 0; axis < 3; ++axis) {
      const auto low = static_cast<std::int32_t>(block[axis] * static_cast<std::int64_t>(kDrrBlock));
      const auto high = static_cast<std::int32_t>(
          std::min(size_ijk_[axis], (block[axis] + 1) * static_cast<std::int64_t>(kDrrBlock)) - 1);
      bounds.first[axis] = first ? low : std::min(bounds.first[axis], low);
      bounds.last[axis] = first ? high : std::max(bounds.last[axis], high);
    }
  };
  const float* largest = block_largest_.data();
  for (std::int64_t k = 0; k < blocks_ijk_[2]; ++k)
    for (std::int64_t j = 0; j < blocks_ijk_[1]; ++j)
      for (std::int64_t i = 0; i < blocks_ijk_[0]; ++i)
        if (*largest++ > threshold) {
          const std::array<std::int64_t, 3> block{i, j, k};
          add(made->whole, block);
          for (int axis = 0; axis < 3; ++axis) add(made->slabs[axis][static_cast<std::size_t>(block[axis])], block);
        }
  const std::lock_guard lock(occupancy_lock_);
  occupancy_ = made;
  return made;
}

// box: first and last index along main, a and b axis.
template <class T>
bool ConeVolume<T>::occupied(int axis, std::array<std::int64_t, 6> box, float threshold) const {
  const DrrLateral lateral = kDrrLateral[axis];
  const std::array<int, 3> axes{axis, lateral.a, lateral.b};
  std::array<std::int64_t, 3> first{}, last{};
  for (int n = 0; n < 3; ++n) {
    const int of = axes[n];
    first[of] = std::clamp<std::int64_t>(box[2 * n], 0, size_ijk_[of] - 1) / static_cast<std::int64_t>(kDrrBlock);
    last[of] = std::clamp<std::int64_t>(box[2 * n + 1], 0, size_ijk_[of] - 1) / static_cast<std::int64_t>(kDrrBlock);
  }
  for (std::int64_t k = first[2]; k <= last[2]; ++k)
    for (std::int64_t j = first[1]; j <= last[1]; ++j)
      for (std::int64_t i = first[0]; i <= last[0]; ++i)
        if (block_largest_[static_cast<std::size_t>((k * blocks_ijk_[1] + j) * blocks_ijk_[0] + i)] > threshold)
          return true;
  return false;
}

template <class T>
template <std::size_t K>
void ConeVolume<T>::project_tile(const Request& request, const ConeCamera& camera, std::size_t row, std::size_t column,
                                 std::size_t rows, std::size_t columns) const {
  const auto ray_of = [&](std::size_t r, std::size_t c) {
    return camera.ray(request.origin_u + request.step_px * static_cast<double>(column + c),
                      request.origin_v + request.step_px * static_cast<double>(row + r));
  };
  const int axis = main_axis(ray_of(rows / 2, columns / 2).step);
  const DrrLateral lateral = kDrrLateral[axis];
  const std::array<DrrRay, 4> corners{ray_of(0, 0), ray_of(0, columns - 1), ray_of(rows - 1, 0),
                                      ray_of(rows - 1, columns - 1)};
  const bool forwards = corners[0].step[axis] > 0.0;
  for (const DrrRay& corner : corners) {
    const double largest = std::abs(corner.step[main_axis(corner.step)]);
    const bool steep = std::abs(corner.step[axis]) >= kSteepest * largest && (corner.step[axis] > 0.0) == forwards;
    if (!steep && rows * columns > 1) {  // an extreme fan within one tile: every ray gets a main axis of its own
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < columns; ++c) project_tile<K>(request, camera, row + r, column + c, 1, 1);
      return;
    }
  }

  // Planes in front of the source.
  const double source_plane = camera.source[axis];
  std::int64_t first = 0;
  std::int64_t end = size_ijk_[axis];
  if (forwards)
    first = std::max<std::int64_t>(first, static_cast<std::int64_t>(std::floor(std::max(source_plane, -1.0))) + 1);
  else
    end = std::min<std::int64_t>(
        end, static_cast<std::int64_t>(std::ceil(std::min(source_plane, static_cast<double>(end)))));

  const double reference = 0.5 * static_cast<double>(size_ijk_[axis]);
  std::array<RayPacket, kTile> packets;
  std::array<std::array<float, kDrrLanes>, kTile> step_mm;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t lane = 0; lane < kDrrLanes; ++lane) {
      const DrrRay ray = ray_of(r, std::min(lane, columns - 1));
      const double per_plane = 1.0 / ray.step[axis];
      const double da = ray.step[lateral.a] * per_plane;
      const double db = ray.step[lateral.b] * per_plane;
      packets[r].a[lane] = static_cast<float>(camera.source[lateral.a] + (reference - source_plane) * da);
      packets[r].b[lane] = static_cast<float>(camera.source[lateral.b] + (reference - source_plane) * db);
      packets[r].da[lane] = static_cast<float>(da);
      packets[r].db[lane] = static_cast<float>(db);
      step_mm[r][lane] = static_cast<float>(ray.length_mm * std::abs(per_plane));
    }

  alignas(64) std::array<std::array<float, K * kDrrLanes>, kTile> sums{};
  const PlaneStack<T> stack = stack_along(axis);
  const March<K, T> march = best_march<K, T>(request.isa);
  constexpr auto block = static_cast<std::int64_t>(kDrrBlock);
  for (std::int64_t begin = first; begin < end;) {
    const std::int64_t stop = std::min(end, (begin / block + 1) * block);
    std::array<double, 4> reach{1e300, -1e300, 1e300, -1e300};
    for (const DrrRay& corner : corners)
      for (const std::int64_t plane : {begin, stop - 1}) {
        const double w = (static_cast<double>(plane) - source_plane) / corner.step[axis];
        const double a = camera.source[lateral.a] + w * corner.step[lateral.a];
        const double b = camera.source[lateral.b] + w * corner.step[lateral.b];
        reach = {std::min(reach[0], a), std::max(reach[1], a), std::min(reach[2], b), std::max(reach[3], b)};
      }
    const bool inside = reach[1] > 0.0 && reach[3] > 0.0 && reach[0] < static_cast<double>(size_ijk_[lateral.a]) &&
                        reach[2] < static_cast<double>(size_ijk_[lateral.b]);
    if (inside && occupied(axis,
                           {begin, stop - 1, static_cast<std::int64_t>(std::floor(reach[0] - kBoxMargin)),
                            static_cast<std::int64_t>(std::floor(reach[1] + kBoxMargin)) + 1,
                            static_cast<std::int64_t>(std::floor(reach[2] - kBoxMargin)),
                            static_cast<std::int64_t>(std::floor(reach[3] + kBoxMargin)) + 1},
                           request.knots[0]))
      for (std::size_t r = 0; r < rows; ++r)
        march(stack, begin, stop, static_cast<float>(reference), packets[r], request.knots, sums[r].data());
    begin = stop;
  }

  for (std::size_t channel = 0; channel < request.channels; ++channel)
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t lane = 0; lane < columns; ++lane) {
        float total = 0.0F;
        for (std::size_t k = 0; k < K; ++k)
          total += request.coefficients[channel * K + k] * sums[r][k * kDrrLanes + lane];
        request.out[(channel * request.rows + row + r) * request.columns + column + lane] = total * step_mm[r][lane];
      }
}

template <class T>
template <std::size_t K>
void ConeVolume<T>::project_tiles(const Request& request, const ConeCamera& camera) const {
  const std::size_t across = (request.columns + kTile - 1) / kTile;
  const std::size_t tiles = across * ((request.rows + kTile - 1) / kTile);
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t tile; (tile = next.fetch_add(1, std::memory_order_relaxed)) < tiles;) {
      const std::size_t row = tile / across * kTile;
      const std::size_t column = tile % across * kTile;
      project_tile<K>(request, camera, row, column, std::min(kTile, request.rows - row),
                      std::min(kTile, request.columns - column));
    }
  };
  std::vector<std::jthread> helpers;
  for (unsigned n = 1; n < std::min<std::size_t>(request.threads, tiles); ++n) helpers.emplace_back(work);
  work();
}

template <class T>
DrrChoice ConeVolume<T>::choose(const Request& request, const ShearWarpPlan& plan) const {
  if (!plan.fits) return {false, plan.reason};
  if (request.knot_count > 1 && request.method == DrrMethod::kAuto)
    return {false, "several knots: materials keep the rays' accuracy"};
  if (plan.samples > kRayWorth * static_cast<double>(request.rows * request.columns) &&
      request.method == DrrMethod::kAuto)
    return {false, "so few pixels that their rays cost less than the volume's planes"};
  return {true, "the rays share a main axis"};
}

template <class T>
DrrChoice ConeVolume<T>::choose(const Request& request) const {
  const std::shared_ptr<const DrrOccupancy> where = occupancy(request.knots[0]);
  return choose(request, ShearWarpPlans(request, ConeCamera(request), size_ijk_, where->whole).first);
}

template <class T>
void ConeVolume<T>::project(const Request& request) const {
  const ConeCamera camera(request);
  if (request.method == DrrMethod::kRays) return project_rays(request, camera);
  const std::shared_ptr<const DrrOccupancy> where = occupancy(request.knots[0]);
  const ShearWarpPlans plans(request, camera, size_ijk_, where->whole);
  const DrrChoice choice = choose(request, plans.first);
  if (!choice.shear_warp) {
    if (request.method == DrrMethod::kShearWarp) throw std::invalid_argument(choice.reason);
    return project_rays(request, camera);
  }
  project_shear_warp(request, camera, plans.first, *where);
  if (plans.share == 0.0) return;
  static thread_local std::vector<float> memory;
  const std::size_t numbers = request.channels * request.rows * request.columns;
  if (memory.size() < numbers) memory.resize(numbers);
  Request other = request;
  other.out = memory.data();
  project_shear_warp(other, camera, plans.second, *where);
  const auto share = static_cast<float>(plans.share);
  for (std::size_t n = 0; n < numbers; ++n) request.out[n] += share * (other.out[n] - request.out[n]);
}

template <class T>
void ConeVolume<T>::project_rays(const Request& request, const ConeCamera& camera) const {
  switch (request.knot_count) {
    case 1:
      return project_tiles<1>(request, camera);
    case 2:
      return project_tiles<2>(request, camera);
    case 3:
      return project_tiles<3>(request, camera);
    case 4:
      return project_tiles<4>(request, camera);
    case 5:
      return project_tiles<5>(request, camera);
    case 6:
      return project_tiles<6>(request, camera);
    case 7:
      return project_tiles<7>(request, camera);
    case 8:
      return project_tiles<8>(request, camera);
    default:
      throw std::invalid_argument("material curves have 1 to 8 bends");
  }
}

template class ConeVolume<std::int16_t>;
template class ConeVolume<float>;

}  // namespace guidance
