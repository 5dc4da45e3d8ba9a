// Line integrals through a volume along the rays of a cone-beam camera (digitally reconstructed radiographs).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "huge_pages.hpp"

namespace guidance {

constexpr std::size_t kDrrLanes = 16;
constexpr std::size_t kDrrBlock = 8;      // edge of a block of voxels whose largest value is known
constexpr std::size_t kDrrMaxKnots = 8;   // bends of the material curves
constexpr std::size_t kDrrOverread = 32;  // voxels that a vector load may reach behind the last one

// Axis-aligned rays of one packet: lateral positions (a: strided axis, b: contiguous axis) at the plane `reference`.
struct alignas(64) RayPacket {
  std::array<float, kDrrLanes> a, da, b, db;
};

// A volume with one voxel of nothing around it, laid out so that the interpolated pair is contiguous.
template <class T>
struct PlaneStack {
  const T* voxels;
  std::int64_t plane_stride;
  std::int32_t row_stride;
  std::int32_t last_a;  // largest first index of an interpolated pair
  std::int32_t last_b;
};

enum class DrrMethod { kAuto, kRays, kShearWarp };
enum class DrrIsa { kBest, kAvx2, kPortable };  // kBest: whatever the processor has

// out (channels, rows, columns): sums over the bends of coefficient * integral of max(0, value - knot) in mm.
struct ConeRequest {
  std::array<double, 12> pixel_from_ijk;  // (3, 4) row-major, of voxel indices i, j, k
  std::array<double, 9> mm_from_ijk;      // (3, 3) row-major
  const float* knots;
  std::size_t knot_count;
  const float* coefficients;  // (channels, knots)
  std::size_t channels;
  std::size_t rows, columns;
  double origin_u, origin_v, step_px;
  unsigned threads;
  DrrMethod method;
  DrrIsa isa;
  float* out;
};

struct ConeCamera;
struct ShearWarpPlan;

// Where anything lies above a threshold: bounds of voxel indices, first > last where nothing does.
struct DrrBounds {
  std::array<std::int32_t, 3> first{1, 1, 1}, last{0, 0, 0};  // i, j, k
  bool empty() const { return first[0] > last[0]; }
};
struct DrrOccupancy {
  float threshold;
  DrrBounds whole;
  std::array<std::vector<DrrBounds>, 3> slabs;  // along each axis, kDrrBlock planes each
};

// Which method a request gets, and why in words.
struct DrrChoice {
  bool shear_warp;
  const char* reason;
};

template <class T>
class ConeVolume {
 public:
  using Request = ConeRequest;

  // voxels (slices, rows, columns), C order; `nothing` is what surrounds it and must not count in any projection.
  ConeVolume(const T* voxels, std::array<std::size_t, 3> shape_kji, T nothing);

  // std::invalid_argument: a matrix without a source; kShearWarp where the factorisation does not hold.
  void project(const Request& request) const;
  DrrChoice choose(const Request& request) const;

 private:
  DrrChoice choose(const Request& request, const ShearWarpPlan& plan) const;
  void project_rays(const Request& request, const ConeCamera& camera) const;
  template <std::size_t K>
  void project_tiles(const Request& request, const ConeCamera& camera) const;
  template <std::size_t K>
  void project_tile(const Request& request, const ConeCamera& camera, std::size_t row, std::size_t column,
                    std::size_t rows, std::size_t columns) const;
  void project_shear_warp(const Request& request, const ConeCamera& camera, const ShearWarpPlan& plan,
                          const DrrOccupancy& occupancy) const;
  PlaneStack<T> stack_along(int axis) const;
  std::shared_ptr<const DrrOccupancy> occupancy(float threshold) const;
  bool occupied(int axis, std::array<std::int64_t, 6> box, float threshold) const;

  std::array<std::int64_t, 3> size_ijk_;    // with the voxel of nothing on each side
  std::array<std::int64_t, 3> blocks_ijk_;  // number of blocks
  std::vector<T, HugePages<T>> kji_;
  std::vector<float> block_largest_;
  mutable std::vector<T, HugePages<T>> ikj_;  // made at the first view that looks along i
  mutable std::once_flag ikj_made_;
  mutable std::mutex occupancy_lock_;
  mutable std::shared_ptr<const DrrOccupancy> occupancy_;  // of the threshold asked for last
};

// Means of boxes of voxels into out (ceil(shape / factors)); `nothing` where a box reaches beyond the volume.
template <class T>
void box_average(const T* voxels, std::array<std::size_t, 3> shape_kji, std::array<std::size_t, 3> factors_kji,
                 T nothing, T* out);

}  // namespace guidance
