// Signed distance of a mask on a grid, and its values between the grid's points.
// Near the surface each grid point's distance is the exact one to the surface's triangles. Farther off it is, on small
// grids, the one to the nearest points found there; on large ones, the exact one to all points where grid lines pierce
// the surface, less than a voxel apart.
// Source: Felzenszwalb and Huttenlocher, Theory of Computing 2012;8:415 (lower envelopes, separable).
#include "distance.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace guidance {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Grid points this near to a triangle's box are worked out exactly.
constexpr double kBandVoxels = 2.5;
constexpr float kOpen = -std::numeric_limits<float>::infinity();  // in the band, not yet worked out
constexpr std::size_t kTile = 16;
constexpr std::size_t kMostHandedOn = 1'500'000;  // grid points; what is more goes by passes along lines, in parallel
constexpr double kSmooth = 0.6;                   // squared slope
constexpr double kAligned = 1e-3;                 // voxels
constexpr int kPierceSteps = 3;

// Lower envelope of the parabolas (q - n)^2 + f(n), at q = 0 .. n - 1.
class Envelope {
 public:
  explicit Envelope(std::size_t size) : place_(size), value_(size), from_(size + 1) {}

  // Elements of a column are `stride` floats apart.
  void run(float* f, std::size_t size, std::size_t stride) {
    std::size_t count = 0;
    for (std::size_t q = 0; q < size; ++q) {
      const float height = f[q * stride];
      if (height == kInfinity) continue;
      const double here = static_cast<double>(q), lifted = height + here * here;
      double cut = -1.0;
      while (count > 0) {
        const double there = place_[count - 1];
        cut = (lifted - value_[count - 1]) / (2.0 * (here - there));
        if (cut > from_[count - 1]) break;
        --count;
      }
      if (count > 0 && cut >= static_cast<double>(size)) continue;
      place_[count] = here;
      value_[count] = lifted;
      from_[count] = count == 0 ? -std::numeric_limits<double>::infinity() : cut;
      ++count;
    }
    if (count == 0) return;
    std::size_t n = 0;
    for (std::size_t q = 0; q < size; ++q) {
      const double here = static_cast<double>(q);
      while (n + 1 < count && from_[n + 1] < here) ++n;
      f[q * stride] = static_cast<float>(std::max(value_[n] + here * (here - 2.0 * place_[n]), 0.0));
    }
  }

 private:
  std::vector<double> place_, value_, from_;
};

// Squared distances along each of `width` neighbouring lines to where they pierce the surface: between elements of
// unlike sign, at a place that `pierced(element, line)` tells.
template <class Pierced>
void crossings(const float* signed_mm, std::size_t stride, std::size_t size, std::size_t width, float* squared,
               std::vector<std::vector<double>>& places, const Pierced& pierced) {
  places.resize(width);
  for (auto& line : places) line.clear();
  for (std::size_t q = 0; q + 1 < size; ++q)
    for (std::size_t n = 0; n < width; ++n) {
      const float a = signed_mm[q * stride + n], b = signed_mm[(q + 1) * stride + n];
      if ((a < 0.0F) != (b < 0.0F) && std::abs(a) < kInfinity && std::abs(b) < kInfinity)
        places[n].push_back(static_cast<double>(q) + pierced(q, n, a, b));
    }
  std::vector<std::size_t> at(width, 0);
  for (std::size_t q = 0; q < size; ++q)
    for (std::size_t n = 0; n < width; ++n) {
      const std::vector<double>& line = places[n];
      if (line.empty()) {
        squared[q * stride + n] = kInfinity;
        continue;
      }
      const double here = static_cast<double>(q);
      while (at[n] + 1 < line.size() && std::abs(line[at[n] + 1] - here) < std::abs(line[at[n]] - here)) ++at[n];
      squared[q * stride + n] = static_cast<float>((line[at[n]] - here) * (line[at[n]] - here));
    }
}

bool any_finite(const float* row, std::size_t size) {
  return std::any_of(row, row + size, [](float value) { return value < kInfinity; });
}

// Columns of a plane [size][width]: in tiles, so that memory is read along rows.
void plane_columns(float* plane, std::size_t size, std::size_t width, std::size_t stride, std::size_t first,
                   std::size_t last, std::vector<float>& tile, Envelope& envelope) {
  for (std::size_t left = first; left < last; left += kTile) {
    const std::size_t wide = std::min({kTile, last - left, width - left});
    tile.resize(size * kTile);
    bool any = false;
    for (std::size_t q = 0; q < size; ++q) {
      const float* from = plane + q * stride + left;
      float* to = tile.data() + q * kTile;
      std::copy_n(from, wide, to);
      any = any || any_finite(to, wide);
    }
    if (!any) continue;
    for (std::size_t n = 0; n < wide; ++n) envelope.run(tile.data() + n, size, kTile);
    for (std::size_t q = 0; q < size; ++q) std::copy_n(tile.data() + q * kTile, wide, plane + q * stride + left);
  }
}

double occupancy_at(const MaskSign& mask, const Point& place) {
  const Point at = transformed(mask.ijk_from_lps, place);
  std::array<long, 3> cell{};
  std::array<double, 3> part{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const double low = std::floor(at[axis]);
    if (!(low >= -1.0 && low < static_cast<double>(mask.voxels.shape_kji[2 - axis]))) return 0.0;
    cell[axis] = static_cast<long>(low);
    part[axis] = at[axis] - low;
  }
  const auto [slices, rows, columns] = mask.voxels.shape_kji;
  double sum = 0.0;
  for (int n = 0; n < 8; ++n) {
    const long i = cell[0] + (n & 1), j = cell[1] + (n >> 1 & 1), k = cell[2] + (n >> 2);
    if (i < 0 || j < 0 || k < 0 || i >= static_cast<long>(columns) || j >= static_cast<long>(rows) ||
        k >= static_cast<long>(slices))
      continue;
    const double weight =
        (n & 1 ? part[0] : 1.0 - part[0]) * (n >> 1 & 1 ? part[1] : 1.0 - part[1]) * (n >> 2 ? part[2] : 1.0 - part[2]);
    sum += weight * mask.voxels.values[(static_cast<std::size_t>(k) * rows + static_cast<std::size_t>(j)) * columns +
                                       static_cast<std::size_t>(i)];
  }
  return sum;
}

bool is_aligned(const MaskSign& mask, const FieldGrid& grid, std::array<long, 3>& shift) {
  const Point first = transformed(mask.ijk_from_lps, grid.origin);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    shift[axis] = std::lround(std::clamp(first[axis], -1e6, 1e6));
    if (std::abs(first[axis] - static_cast<double>(shift[axis])) > kAligned) return false;
    for (std::size_t other = 0; other < 3; ++other) {
      const double part = mask.ijk_from_lps[4 * axis + other] * grid.spacing_mm - (axis == other ? 1.0 : 0.0);
      if (std::abs(part) * static_cast<double>(grid.shape_kji[2 - other]) > kAligned) return false;
    }
  }
  return true;
}

struct Job {
  const SurfaceTree& tree;
  const MaskSign& mask;
  const FieldGrid& grid;
  float* out;
  std::size_t rows, columns;
  bool aligned;  // the grid's points are the mask's voxels, `shift` away
  std::array<long, 3> shift;
  std::vector<std::array<float, 3>>* nearest;  // in voxels of the grid; null where they are not asked for

  double voxel_at(const std::array<long, 3>& point) const {
    const auto [slices, lines, width] = mask.voxels.shape_kji;
    const long i = point[0] + shift[0], j = point[1] + shift[1], k = point[2] + shift[2];
    if (i < 0 || j < 0 || k < 0 || i >= static_cast<long>(width) || j >= static_cast<long>(lines) ||
        k >= static_cast<long>(slices))
      return 0.0;
    return mask.voxels.values[(static_cast<std::size_t>(k) * lines + static_cast<std::size_t>(j)) * width +
                              static_cast<std::size_t>(i)];
  }

  Point place(std::size_t i, std::size_t j, std::size_t k) const {
    return {grid.origin[0] + grid.spacing_mm * static_cast<double>(i),
            grid.origin[1] + grid.spacing_mm * static_cast<double>(j),
            grid.origin[2] + grid.spacing_mm * static_cast<double>(k)};
  }

  // Marks what is near a triangle in slices first to last - 1.
  void mark(std::size_t first, std::size_t last) const {
    std::fill(out + first * rows * columns, out + last * rows * columns, kInfinity);
    const std::array<std::size_t, 3> size{columns, rows, last};
    for (std::size_t n = 0; n < tree.size(); ++n) {
      const auto& corners = tree.corners(n);
      std::array<std::size_t, 3> low{}, high{};
      bool none = false;
      for (std::size_t axis = 0; axis < 3 && !none; ++axis) {
        const auto [least, most] = std::minmax({corners[axis], corners[axis + 3], corners[axis + 6]});
        const double shift = tree.center()[axis] - grid.origin[axis];
        const double from = std::ceil((least + shift) / grid.spacing_mm - kBandVoxels);
        const double to = std::floor((most + shift) / grid.spacing_mm + kBandVoxels) + 1.0;
        low[axis] = static_cast<std::size_t>(std::max(from, axis == 2 ? static_cast<double>(first) : 0.0));
        high[axis] = static_cast<std::size_t>(std::clamp(to, 0.0, static_cast<double>(size[axis])));
        none = high[axis] <= low[axis];
      }
      if (none) continue;
      for (std::size_t k = low[2]; k < high[2]; ++k)
        for (std::size_t j = low[1]; j < high[1]; ++j) {
          float* row = out + (k * rows + j) * columns;
          std::fill(row + low[0], row + high[0], kOpen);
        }
    }
  }

  void solve_band(std::size_t k) const {
    for (std::size_t j = 0; j < rows; ++j) {
      float* row = out + (k * rows + j) * columns;
      bool warm = false;
      Point last{};
      for (std::size_t i = 0; i < columns; ++i) {
        if (row[i] != kOpen) {
          warm = false;
          continue;
        }
        const Point here = place(i, j, k);
        const double most = warm ? std::hypot(here[0] - last[0], here[1] - last[1], here[2] - last[2])
                                 : std::numeric_limits<double>::infinity();
        const Nearest found = tree.nearest(here, most);
        const bool inside =
            aligned ? voxel_at({static_cast<long>(i), static_cast<long>(j), static_cast<long>(k)}) > mask.level
            : found.distance_mm < mask.trusted_mm ? found.inside
                                                  : occupancy_at(mask, here) > mask.level;
        row[i] = static_cast<float>(inside ? -found.distance_mm : found.distance_mm);
        last = found.point;
        warm = true;
        if (nearest)
          for (std::size_t axis = 0; axis < 3; ++axis)
            (*nearest)[(k * rows + j) * columns + i][axis] =
                static_cast<float>((found.point[axis] - grid.origin[axis]) / grid.spacing_mm);
      }
    }
  }

  // Squared distances (voxels) to the nearest points of the band's grid points, handed on from neighbour to neighbour.
  // Edges and tips of the surface are nearest to much of the band, so they are met exactly.
  // Source: Danielsson, Computer Graphics and Image Processing 1980;14:227; Tsai, J Comput Phys 2002;178:175.
  void hand_on(std::vector<float>& squared) const {
    const long size[3] = {static_cast<long>(columns), static_cast<long>(rows), static_cast<long>(grid.shape_kji[0])};
    for (std::size_t n = 0; n < squared.size(); ++n) squared[n] = out[n] < kInfinity ? 0.0F : kInfinity;
    for (int sweep = 0; sweep < 8; ++sweep) {
      const long step[3] = {sweep & 1 ? -1 : 1, sweep & 2 ? -1 : 1, sweep & 4 ? -1 : 1};
      const long start[3] = {step[0] > 0 ? 0 : size[0] - 1, step[1] > 0 ? 0 : size[1] - 1,
                             step[2] > 0 ? 0 : size[2] - 1};
      for (long k = start[2]; k >= 0 && k < size[2]; k += step[2])
        for (long j = start[1]; j >= 0 && j < size[1]; j += step[1])
          for (long i = start[0]; i >= 0 && i < size[0]; i += step[0]) {
            const std::size_t at = static_cast<std::size_t>((k * size[1] + j) * size[0] + i);
            if (squared[at] == 0.0F) continue;
            for (int n = 1; n < 8; ++n) {
              const long x = n & 1 ? i - step[0] : i, y = n & 2 ? j - step[1] : j, z = n & 4 ? k - step[2] : k;
              if (x < 0 || y < 0 || z < 0 || x >= size[0] || y >= size[1] || z >= size[2]) continue;
              const std::size_t from = static_cast<std::size_t>((z * size[1] + y) * size[0] + x);
              if (squared[from] == kInfinity) continue;
              const auto& point = (*nearest)[from];
              const float dx = point[0] - static_cast<float>(i), dy = point[1] - static_cast<float>(j),
                          dz = point[2] - static_cast<float>(k);
              const float found = dx * dx + dy * dy + dz * dz;
              if (found >= squared[at]) continue;
              squared[at] = found;
              (*nearest)[at] = point;
            }
          }
    }
  }

  // Where the grid's line between two neighbours of unlike sign pierces the surface, 0 to 1. The distance along a line
  // is not straight at the edges of the surface: steps of regula falsi; none where the grid is the mask's own.
  double pierced(std::size_t i, std::size_t j, std::size_t k, std::size_t axis, double a, double b) const {
    if (aligned) {
      const std::array<long, 3> first{static_cast<long>(i), static_cast<long>(j), static_cast<long>(k)};
      std::array<long, 3> second = first;
      ++second[axis];
      const double here = voxel_at(first), there = voxel_at(second);
      if ((here > mask.level) != (there > mask.level)) return (mask.level - here) / (there - here);
    }
    const Point start = place(i, j, k);
    double low = 0.0, high = 1.0, part = a / (a - b);
    for (int step = 0; step < kPierceSteps; ++step) {
      Point here = start;
      here[axis] += part * grid.spacing_mm;
      const double most =
          std::min(std::abs(a) + (part - low) * grid.spacing_mm, std::abs(b) + (high - part) * grid.spacing_mm);
      const Nearest found = tree.nearest(here, most * 1.001 + 1e-6);
      const double value = found.inside ? -found.distance_mm : found.distance_mm;
      if (found.distance_mm < 1e-4 * grid.spacing_mm) break;
      const bool like_a = (value < 0.0) == (a < 0.0);
      (like_a ? low : high) = part;
      (like_a ? a : b) = value;
      part = low + (high - low) * a / (a - b);
    }
    return part;
  }

  // Beyond the band all of a run of a row is on one side.
  void finish(std::size_t k, const float* squared) const {
    for (std::size_t j = 0; j < rows; ++j) {
      float* row = out + (k * rows + j) * columns;
      const float* far = squared + (k * rows + j) * columns;
      const float spacing = static_cast<float>(grid.spacing_mm);
      bool known = false;
      float side = 1.0F;
      for (std::size_t i = 0; i < columns; ++i) {
        if (row[i] < kInfinity) {
          known = false;
          continue;
        }
        if (!known) side = occupancy_at(mask, place(i, j, k)) > mask.level ? -1.0F : 1.0F;
        known = true;
        row[i] = side * spacing * std::sqrt(far[i]);
      }
    }
  }
};

}  // namespace

void squared_distance_pass(float* f, const std::array<std::size_t, 3>& shape_kji, int axis, unsigned threads) {
  const auto [slices, rows, columns] = shape_kji;
  if (axis == 2) {  // along k: tiles of every plane (k, i)
    in_parallel(rows, threads, [&, slices = slices, rows = rows, columns = columns](std::size_t j) {
      Envelope envelope(slices);
      std::vector<float> tile;
      plane_columns(f + j * columns, slices, columns, rows * columns, 0, columns, tile, envelope);
    });
    return;
  }
  in_parallel(slices, threads, [&, rows = rows, columns = columns](std::size_t k) {
    Envelope envelope(std::max(rows, columns));
    std::vector<float> tile;
    float* plane = f + k * rows * columns;
    if (axis == 1) return plane_columns(plane, rows, columns, columns, 0, columns, tile, envelope);
    for (std::size_t j = 0; j < rows; ++j)
      if (any_finite(plane + j * columns, columns)) envelope.run(plane + j * columns, columns, 1);
  });
}

void distance_grid(const SurfaceTree& tree, const MaskSign& mask, const FieldGrid& grid, unsigned threads, float* out) {
  const auto [slices, rows, columns] = grid.shape_kji;
  const std::size_t plane = rows * columns;
  std::array<long, 3> shift{};
  const bool aligned = is_aligned(mask, grid, shift);
  Job job{tree, mask, grid, out, rows, columns, aligned, shift, nullptr};
  const std::size_t parts = std::min<std::size_t>(threads, slices);
  in_parallel(parts, threads,
              [&, slices = slices](std::size_t n) { job.mark(slices * n / parts, slices * (n + 1) / parts); });
  if (slices * plane <= kMostHandedOn) {
    std::vector<std::array<float, 3>> nearest(slices * plane);
    job.nearest = &nearest;
    in_parallel(slices, threads, [&](std::size_t k) { job.solve_band(k); });
    std::vector<float> squared(slices * plane);
    job.hand_on(squared);
    in_parallel(slices, threads, [&](std::size_t k) { job.finish(k, squared.data()); });
    return;
  }
  in_parallel(slices, threads, [&](std::size_t k) { job.solve_band(k); });

  // Piercings of lines along k, whose pass along k is their own; then those along i and j, which meet there.
  std::vector<float> far(slices * plane), flat(slices * plane);
  in_parallel(rows, threads, [&, slices = slices, columns = columns](std::size_t j) {
    std::vector<std::vector<double>> places;
    crossings(out + j * columns, plane, slices, columns, far.data() + j * columns, places,
              [&](std::size_t k, std::size_t i, double a, double b) { return job.pierced(i, j, k, 2, a, b); });
  });
  in_parallel(slices, threads, [&, rows = rows, columns = columns](std::size_t k) {
    const float* from = out + k * plane;
    float* along_k = far.data() + k * plane;
    float* along_i = flat.data() + k * plane;
    Envelope envelope(std::max(rows, columns));
    std::vector<float> tile, along_j(plane);
    std::vector<std::vector<double>> places;
    for (std::size_t j = 0; j < rows; ++j) {
      float* row = along_k + j * columns;
      if (any_finite(row, columns)) envelope.run(row, columns, 1);
      crossings(from + j * columns, 1, columns, 1, along_i + j * columns, places,
                [&](std::size_t i, std::size_t, double a, double b) { return job.pierced(i, j, k, 0, a, b); });
    }
    plane_columns(along_k, rows, columns, columns, 0, columns, tile, envelope);
    plane_columns(along_i, rows, columns, columns, 0, columns, tile, envelope);
    crossings(from, columns, rows, columns, along_j.data(), places,
              [&](std::size_t j, std::size_t i, double a, double b) { return job.pierced(i, j, k, 1, a, b); });
    for (std::size_t j = 0; j < rows; ++j) {
      float* row = along_j.data() + j * columns;
      if (any_finite(row, columns)) envelope.run(row, columns, 1);
    }
    for (std::size_t n = 0; n < plane; ++n) along_i[n] = std::min(along_i[n], along_j[n]);
  });
  squared_distance_pass(flat.data(), grid.shape_kji, 2, threads);
  in_parallel(slices, threads, [&](std::size_t k) {
    for (std::size_t n = k * plane; n < (k + 1) * plane; ++n) far[n] = std::min(far[n], flat[n]);
    job.finish(k, far.data());
  });
}

// False where the place is off the grid; `smooth` where the surface has one nearest place.
bool sampled(const FieldValues& field, const Point& place, double& value, bool& smooth) {
  const auto [slices, rows, columns] = field.grid.shape_kji;
  const double scale = 1.0 / field.grid.spacing_mm;
  const double x = (place[0] - field.grid.origin[0]) * scale, y = (place[1] - field.grid.origin[1]) * scale,
               z = (place[2] - field.grid.origin[2]) * scale;
  if (!(x >= 0.0 && y >= 0.0 && z >= 0.0 && x <= static_cast<double>(columns - 1) &&
        y <= static_cast<double>(rows - 1) && z <= static_cast<double>(slices - 1)))
    return false;
  const std::size_t i = std::min(static_cast<std::size_t>(x), columns - 2),
                    j = std::min(static_cast<std::size_t>(y), rows - 2),
                    k = std::min(static_cast<std::size_t>(z), slices - 2);
  const double a = x - static_cast<double>(i), b = y - static_cast<double>(j), c = z - static_cast<double>(k);
  const float* at = field.values + (k * rows + j) * columns + i;
  const float *upper = at + rows * columns, *beyond = upper + columns, *next = at + columns;
  const auto mixed = [](double first, double second, double part) { return first + part * (second - first); };
  const double low = mixed(mixed(at[0], at[1], a), mixed(next[0], next[1], a), b);
  const double high = mixed(mixed(upper[0], upper[1], a), mixed(beyond[0], beyond[1], a), b);
  value = mixed(low, high, c);
  // A distance changes by 1 per mm but where two places are as near: there the grid rounds off.
  const double along_x =
      mixed(mixed(at[1] - at[0], next[1] - next[0], b), mixed(upper[1] - upper[0], beyond[1] - beyond[0], b), c);
  const double along_y =
      mixed(mixed(next[0] - at[0], next[1] - at[1], a), mixed(beyond[0] - upper[0], beyond[1] - upper[1], a), c);
  const double along_z = high - low;
  smooth = along_x * along_x + along_y * along_y + along_z * along_z >=
           kSmooth * field.grid.spacing_mm * field.grid.spacing_mm;
  return true;
}

void sample_grids(const FieldValues& inner, const FieldValues& outer, const SurfaceTree& tree, const double* points,
                  std::size_t count, double* out) {
  for (std::size_t n = 0; n < count; ++n) {
    const Point here{points[3 * n], points[3 * n + 1], points[3 * n + 2]};
    bool smooth = false;
    const bool on_grid = sampled(inner, here, out[n], smooth) || sampled(outer, here, out[n], smooth);
    if (on_grid && smooth) continue;
    if (!std::isfinite(here[0]) || !std::isfinite(here[1]) || !std::isfinite(here[2])) {
      out[n] = std::numeric_limits<double>::quiet_NaN();
      continue;
    }
    const Nearest found = tree.nearest(here, std::numeric_limits<double>::infinity());
    out[n] =
        (on_grid ? out[n] < 0.0 && found.distance_mm > 0.0 : found.inside) ? -found.distance_mm : found.distance_mm;
  }
}

}  // namespace guidance
