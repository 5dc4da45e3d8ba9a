// Marching cubes: where voxels, interpolated along their edges, cross a level.
// Source: Lorensen and Cline, SIGGRAPH 1987; its ambiguous faces are all cut one way (inside corners apart), so that
// neighbouring cells agree and the surface is closed (Montani, Scateni, Scopigno, The Visual Computer 1994;10:353).
#include <algorithm>
#include <cmath>

#include "distance.hpp"

namespace guidance {
namespace {

// Corner c lies at (c & 1, c >> 1 & 1, c >> 2); edge a * 4 + n runs along axis a from the corner with the other two
// coordinates n & 1 and n >> 1.
int edge_between(int a, int b) {
  const int axis = (a ^ b) == 1 ? 0 : (a ^ b) == 2 ? 1 : 2;
  const int low = a & b;
  const int other = axis == 0 ? low >> 1 : axis == 1 ? (low & 1) | (low >> 2) << 1 : low & 3;
  return axis * 4 + other;
}

// Triangles of one cell as edges, three by three, ended by -1.
using Case = std::array<std::int8_t, 31>;

Case case_of(int inside) {
  // Each face's corners, counter-clockwise seen from outside the cell.
  constexpr int kFaces[6][4] = {{0, 4, 6, 2}, {1, 3, 7, 5}, {0, 1, 5, 4}, {2, 6, 7, 3}, {0, 2, 3, 1}, {4, 5, 7, 6}};
  std::array<int, 12> next;
  next.fill(-1);
  for (const auto& face : kFaces)
    for (int n = 0; n < 4; ++n) {
      const bool enters = !(inside >> face[n] & 1) && (inside >> face[(n + 1) % 4] & 1);
      if (!enters) continue;
      int m = (n + 1) % 4;
      while (inside >> face[(m + 1) % 4] & 1) m = (m + 1) % 4;
      next[edge_between(face[n], face[(n + 1) % 4])] = edge_between(face[m], face[(m + 1) % 4]);
    }
  Case found;
  found.fill(-1);
  std::size_t size = 0;
  std::array<bool, 12> done{};
  for (int start = 0; start < 12; ++start) {
    if (next[start] < 0 || done[start]) continue;
    std::vector<int> loop;
    for (int edge = start; !done[edge]; edge = next[edge]) {
      done[edge] = true;
      loop.push_back(edge);
    }
    for (std::size_t n = 1; n + 1 < loop.size(); ++n)
      for (const int edge : {loop[0], loop[n], loop[n + 1]}) found[size++] = static_cast<std::int8_t>(edge);
  }
  return found;
}

const std::array<Case, 256>& cases() {
  static const std::array<Case, 256> table = [] {
    std::array<Case, 256> all;
    for (int inside = 0; inside < 256; ++inside) all[static_cast<std::size_t>(inside)] = case_of(inside);
    return all;
  }();
  return table;
}

// One slice with an empty rim.
struct Slice {
  std::vector<std::uint8_t> values;
  bool empty = true;
};

class Marcher {
 public:
  Marcher(const Voxels& voxels, const Affine& lps_from_ijk, double level)
      : voxels_(voxels),
        matrix_(lps_from_ijk),
        level_(level),
        rows_(voxels.shape_kji[1] + 2),
        columns_(voxels.shape_kji[2] + 2) {
    for (auto& edges : along_) edges.assign(rows_ * columns_, -1);
  }

  TriangleMesh march() {
    const std::size_t slices = voxels_.shape_kji[0] + 2;
    const Affine& m = matrix_;
    const double determinant =
        m[0] * (m[5] * m[10] - m[6] * m[9]) - m[1] * (m[4] * m[10] - m[6] * m[8]) + m[2] * (m[4] * m[9] - m[5] * m[8]);
    mirrored_ = determinant < 0.0;
    Slice lower = slice(0);
    for (std::size_t k = 0; k + 1 < slices; ++k) {
      Slice upper = slice(k + 1);
      if (!lower.empty || !upper.empty) layer(lower, upper, k);
      std::swap(along_[0], along_[2]);
      std::swap(along_[1], along_[3]);
      lower = std::move(upper);
    }
    return std::move(mesh_);
  }

 private:
  Slice slice(std::size_t padded_k) const {
    Slice made;
    made.values.assign(rows_ * columns_, 0);
    if (padded_k == 0 || padded_k > voxels_.shape_kji[0]) return made;
    const std::size_t rows = voxels_.shape_kji[1], columns = voxels_.shape_kji[2];
    const std::uint8_t* from = voxels_.values + (padded_k - 1) * rows * columns;
    for (std::size_t j = 0; j < rows; ++j)
      std::copy_n(from + j * columns, columns, made.values.data() + (j + 1) * columns_ + 1);
    made.empty = std::none_of(made.values.begin(), made.values.end(), [&](std::uint8_t v) { return v > level_; });
    return made;
  }

  // Points on edges are numbered where they are first met: 0, 1: x and y edges of the lower slice, 2, 3: of the upper,
  // 4: edges between. Numbers of a former layer are below `first_of_layer_` or are this layer's lower ones.
  void layer(const Slice& lower, const Slice& upper, std::size_t k) {
    if (last_layer_ + 1 != k) {
      std::fill(along_[0].begin(), along_[0].end(), -1);
      std::fill(along_[1].begin(), along_[1].end(), -1);
    }
    last_layer_ = k;
    for (const int n : {2, 3, 4}) std::fill(along_[n].begin(), along_[n].end(), -1);
    const std::uint8_t* low = lower.values.data();
    const std::uint8_t* high = upper.values.data();
    const auto side = [&](std::uint8_t value) { return value > level_ ? 1 : 0; };
    for (std::size_t j = 0; j + 1 < rows_; ++j) {
      const auto column = [&](std::size_t i) {
        const std::size_t at = j * columns_ + i;
        return side(low[at]) | side(low[at + columns_]) << 2 | side(high[at]) << 4 | side(high[at + columns_]) << 6;
      };
      int left = column(0);
      for (std::size_t i = 0; i + 1 < columns_; ++i) {
        const int right = column(i + 1), inside = left | right << 1;
        left = right;
        if (inside == 0 || inside == 255) continue;
        const Case& cell = cases()[static_cast<std::size_t>(inside)];
        for (std::size_t n = 0; cell[n] >= 0; n += 3) {
          std::array<std::int32_t, 3> triangle{};
          for (std::size_t m = 0; m < 3; ++m) triangle[m] = vertex(cell[n + m], i, j, k, low, high);
          if (mirrored_) std::swap(triangle[1], triangle[2]);
          mesh_.triangles.push_back(triangle);
        }
      }
    }
  }

  std::int32_t vertex(int edge, std::size_t i, std::size_t j, std::size_t k, const std::uint8_t* low,
                      const std::uint8_t* high) {
    const int axis = edge / 4, a = edge & 1, b = edge >> 1 & 1;
    const std::size_t x = axis == 0 ? i : i + a, y = axis == 1 ? j : j + (axis == 0 ? a : b);
    const int z = axis == 2 ? 0 : b;
    const std::size_t at = y * columns_ + x;
    std::int32_t& number = along_[axis == 2 ? 4 : static_cast<std::size_t>(2 * z + axis)][at];
    if (number >= 0) return number;
    const std::uint8_t* slice = z ? high : low;
    const double first = slice[at];
    const double second = axis == 0 ? slice[at + 1] : axis == 1 ? slice[at + columns_] : high[at];
    const double part = (level_ - first) / (second - first);
    Point place{double(x) - 1.0, double(y) - 1.0, double(k) - 1.0 + z};
    place[static_cast<std::size_t>(axis)] += part;
    number = static_cast<std::int32_t>(mesh_.points.size());
    mesh_.points.push_back(transformed(matrix_, place));
    return number;
  }

  const Voxels voxels_;
  const Affine matrix_;
  const double level_;
  const std::size_t rows_, columns_;
  bool mirrored_ = false;
  std::size_t last_layer_ = 0;
  std::array<std::vector<std::int32_t>, 5> along_;
  TriangleMesh mesh_;
};

}  // namespace

Point transformed(const Affine& m, const Point& p) {
  return {m[0] * p[0] + m[1] * p[1] + m[2] * p[2] + m[3], m[4] * p[0] + m[5] * p[1] + m[6] * p[2] + m[7],
          m[8] * p[0] + m[9] * p[1] + m[10] * p[2] + m[11]};
}

TriangleMesh isosurface(const Voxels& voxels, const Affine& lps_from_ijk, double level) {
  return Marcher(voxels, lps_from_ijk, level).march();
}

}  // namespace guidance
