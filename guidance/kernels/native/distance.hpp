// Masks as surfaces and distances: isosurface, nearest triangle, distance grid, sampling, simplification. No Python
// here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace guidance {

using Point = std::array<double, 3>;

// A closed surface; triangles are outward by the right hand.
struct TriangleMesh {
  std::vector<Point> points;
  std::vector<std::array<std::int32_t, 3>> triangles;
};

// Voxels [k][j][i]; what is outside the array is 0.
struct Voxels {
  const std::uint8_t* values;
  std::array<std::size_t, 3> shape_kji;
};

// Row-major 3x4: destination = matrix * (source, 1).
using Affine = std::array<double, 12>;
Point transformed(const Affine& matrix, const Point& point);

TriangleMesh isosurface(const Voxels& voxels, const Affine& lps_from_ijk, double level);

struct Nearest {
  Point point;
  double distance_mm;  // >= 0
  bool inside;
};

// A balanced tree of boxes over triangles, for nearest points.
class SurfaceTree {
 public:
  SurfaceTree(const double* points, std::size_t point_count, const std::int32_t* triangles, std::size_t triangle_count);
  // Looks no farther than `most_mm`, which must not be less than the distance.
  Nearest nearest(const Point& place, double most_mm) const;
  std::size_t size() const { return corners_.size(); }
  // Corners of triangle n, relative to `center`.
  const std::array<float, 9>& corners(std::size_t n) const { return corners_[n]; }
  const Point& center() const { return center_; }
  const Point& low() const { return low_; }
  const Point& high() const { return high_; }

 private:
  struct Box {
    float low[3], high[3];
  };
  void build(std::size_t node, std::size_t first, std::size_t last, int depth, int parallel);
  Point center_{}, low_{}, high_{};
  int depth_ = 0;
  std::vector<std::array<float, 9>> corners_;
  std::vector<Box> boxes_;
};

// An isotropic grid along LPS: voxel (i, j, k) at origin + spacing * (i, j, k).
struct FieldGrid {
  Point origin;
  double spacing_mm;
  std::array<std::size_t, 3> shape_kji;
};

struct MaskSign {
  Voxels voxels;
  Affine ijk_from_lps;
  double level;
  double trusted_mm;  // nearer to the surface its triangles tell the side, farther the voxels
};

void distance_grid(const SurfaceTree& tree, const MaskSign& mask, const FieldGrid& grid, unsigned threads, float* out);
struct FieldValues {
  const float* values;
  FieldGrid grid;
};
// Linearly between the points of the inner grid, else of the outer one, else the exact distance to the surface.
void sample_grids(const FieldValues& inner, const FieldValues& outer, const SurfaceTree& tree, const double* points,
                  std::size_t count, double* out);

// Squared distances (in voxels) to points on the grid's lines; `f` holds 0 or more at them, infinity elsewhere.
void squared_distance_pass(float* f, const std::array<std::size_t, 3>& shape_kji, int axis, unsigned threads);

struct SimplifyRules {
  std::size_t most_triangles;
  double deviation_mm;  // mean distance that a collapse may cost
  int smoothing;        // rounds
  double smoothing_mm;  // how far smoothing may move a point
};
TriangleMesh simplified(const TriangleMesh& mesh, const SimplifyRules& rules);

// Calls work(n) for n = 0 to count - 1 from several threads.
void in_parallel(std::size_t count, unsigned threads, const std::function<void(std::size_t)>& work);

}  // namespace guidance
