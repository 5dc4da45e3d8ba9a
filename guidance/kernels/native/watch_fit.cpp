// What a small rigid motion does to a projection, and which one the picture shows.
#include <algorithm>
#include <cmath>
#include <limits>

#include "watch.hpp"

namespace guidance {
namespace {

constexpr std::size_t kColumns = 1 + kWatchMotions;
constexpr std::size_t kPairs = kColumns * (kColumns + 1) / 2;
constexpr std::size_t kLanes = 16;
constexpr std::size_t kChunk = 128;
constexpr float kCounts = 0.05F;  // weight below which a bin says nothing of the scale of differences
constexpr std::size_t kSampleStride = 3;
constexpr double kDeg = 0.017453292519943295;

using Vector = std::array<double, 3>;

Vector cross(const Vector& a, const Vector& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

double dot(const double* row, const Vector& x) { return row[0] * x[0] + row[1] * x[1] + row[2] * x[2]; }

Vector solved(const std::array<double, 12>& p, const Vector& right) {
  const Vector r0{p[0], p[1], p[2]}, r1{p[4], p[5], p[6]}, r2{p[8], p[9], p[10]};
  const Vector c0 = cross(r1, r2), c1 = cross(r2, r0), c2 = cross(r0, r1);
  const double s = 1.0 / dot(r0.data(), c0);
  return {s * (c0[0] * right[0] + c1[0] * right[1] + c2[0] * right[2]),
          s * (c0[1] * right[0] + c1[1] * right[1] + c2[1] * right[2]),
          s * (c0[2] * right[0] + c1[2] * right[1] + c2[2] * right[2])};
}

// What one motion does to a point at depth w on the ray through (u, v): it moves by (near_u - u near_w) / w
// + (far_u - u far_w) px along u, and alike along v. Near: the motion where the source is; far: along the ray.
struct Flow {
  float near_u, near_v, near_w;
  std::array<float, 3> far_u, far_v, far_w;  // constant, per u, per v
};

// One chunk of bins: weights from the differences, then all products.
GUIDANCE_CLONES void accumulate(const float* const* column, const float* __restrict picture,
                                const float* __restrict valid, const float* __restrict weight,
                                const float* __restrict parameters, float inverse_scale, double* __restrict pairs,
                                double* __restrict right, double* __restrict totals) {
  alignas(64) float w[kChunk];
  alignas(64) float weighted[kColumns][kChunk];
  alignas(64) float fitted[kChunk];
  for (std::size_t n = 0; n < kChunk; ++n) fitted[n] = 0.0F;
  for (std::size_t k = 0; k < kColumns; ++k)
    for (std::size_t n = 0; n < kChunk; ++n) fitted[n] += parameters[k] * column[k][n];
  for (std::size_t n = 0; n < kChunk; ++n) {
    const float off = (picture[n] - fitted[n]) * inverse_scale;
    w[n] = valid[n] * weight[n] / (1.0F + off * off);
  }
  for (std::size_t k = 0; k < kColumns; ++k)
    for (std::size_t n = 0; n < kChunk; ++n) weighted[k][n] = w[n] * column[k][n];
  std::size_t pair = 0;
  for (std::size_t i = 0; i < kColumns; ++i) {
    for (std::size_t j = i; j < kColumns; ++j, ++pair) {
      alignas(64) float lanes[kLanes] = {};
      for (std::size_t n = 0; n < kChunk; n += kLanes)
        for (std::size_t l = 0; l < kLanes; ++l) lanes[l] += weighted[i][n + l] * column[j][n + l];
      for (const float lane : lanes) pairs[pair] += lane;
    }
    alignas(64) float lanes[kLanes] = {};
    for (std::size_t n = 0; n < kChunk; n += kLanes)
      for (std::size_t l = 0; l < kLanes; ++l) lanes[l] += weighted[i][n + l] * picture[n + l];
    for (const float lane : lanes) right[i] += lane;
  }
  // totals: w, w off^2, plain weight; products for the similarities: plain ff fy yy dy dd, robust ff fy yy
  alignas(64) float lanes[11][kLanes] = {};
  for (std::size_t n = 0; n < kChunk; n += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) {
      const float y = picture[n + l];
      const float f = fitted[n + l];
      const float d = column[0][n + l];
      const float plain = valid[n + l] * weight[n + l];
      const float robust = w[n + l];
      lanes[0][l] += robust;
      lanes[1][l] += robust * (y - f) * (y - f);
      lanes[2][l] += plain;
      lanes[3][l] += plain * f * f;
      lanes[4][l] += plain * f * y;
      lanes[5][l] += plain * y * y;
      lanes[6][l] += plain * d * y;
      lanes[7][l] += plain * d * d;
      lanes[8][l] += robust * f * f;
      lanes[9][l] += robust * f * y;
      lanes[10][l] += robust * y * y;
    }
  for (std::size_t t = 0; t < 11; ++t)
    for (const float lane : lanes[t]) totals[t] += lane;
}

// Symmetric positive definite; false where it is not.
bool solve(std::array<double, kColumns * kColumns> a, std::array<double, kColumns>& x) {
  for (std::size_t i = 0; i < kColumns; ++i) {
    for (std::size_t k = 0; k < i; ++k) a[i * kColumns + i] -= a[i * kColumns + k] * a[i * kColumns + k];
    if (!(a[i * kColumns + i] > 0.0)) return false;
    a[i * kColumns + i] = std::sqrt(a[i * kColumns + i]);
    for (std::size_t j = i + 1; j < kColumns; ++j) {
      for (std::size_t k = 0; k < i; ++k) a[j * kColumns + i] -= a[j * kColumns + k] * a[i * kColumns + k];
      a[j * kColumns + i] /= a[i * kColumns + i];
    }
  }
  for (std::size_t i = 0; i < kColumns; ++i) {
    for (std::size_t k = 0; k < i; ++k) x[i] -= a[i * kColumns + k] * x[k];
    x[i] /= a[i * kColumns + i];
  }
  for (std::size_t i = kColumns; i-- > 0;) {
    for (std::size_t k = i + 1; k < kColumns; ++k) x[i] -= a[k * kColumns + i] * x[k];
    x[i] /= a[i * kColumns + i];
  }
  return true;
}

double correlation(double fy, double ff, double yy) { return ff > 0.0 && yy > 0.0 ? fy / std::sqrt(ff * yy) : 0.0; }

GUIDANCE_CLONES void products(const float* __restrict picture, const float* __restrict valid,
                              const float* __restrict weight, const float* __restrict projection, std::size_t count,
                              float* __restrict sums) {
  alignas(64) float lanes[3][kLanes] = {};
  for (std::size_t n = 0; n + kLanes <= count; n += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) {
      const float w = weight[n + l] * valid[n + l];
      lanes[0][l] += w * projection[n + l] * picture[n + l];
      lanes[1][l] += w * projection[n + l] * projection[n + l];
      lanes[2][l] += w * picture[n + l] * picture[n + l];
    }
  for (std::size_t n = count / kLanes * kLanes; n < count; ++n) {
    const float w = weight[n] * valid[n];
    lanes[0][0] += w * projection[n] * picture[n];
    lanes[1][0] += w * projection[n] * projection[n];
    lanes[2][0] += w * picture[n] * picture[n];
  }
  for (std::size_t k = 0; k < 3; ++k)
    for (const float lane : lanes[k]) sums[k] += lane;
}

}  // namespace

float watch_template(const WatchTemplate& request, const float* sums, const float* moments, float* planes) {
  const std::size_t rows = request.rows;
  const std::size_t columns = request.columns;
  const std::size_t count = rows * columns;
  const auto& p = request.pixel_from_lps;
  std::vector<float> ones(count, 1.0F), plain(count), inverse_depth(count), contrast(count), unused(count);
  const auto near = static_cast<float>(1.0 / request.depth_mm);
  for (std::size_t n = 0; n < count; ++n) inverse_depth[n] = near * (sums[n] - near * moments[n]);
  // `floor` 1e6: high-passed only, all divided by one number, which is taken back.
  constexpr float kWhole = 1e6F;
  const float overall = watch_contrast(sums, ones.data(), rows, columns, request.mean_radius, request.contrast_radius,
                                       kWhole, plain.data(), contrast.data());
  const float depth_overall = watch_contrast(inverse_depth.data(), ones.data(), rows, columns, request.mean_radius,
                                             request.contrast_radius, kWhole, unused.data(), nullptr);
  for (std::size_t n = 0; n < count; ++n) {
    plain[n] *= kWhole * overall;
    inverse_depth[n] = unused[n] * kWhole * depth_overall;
  }
  std::size_t shown = 0;
  for (std::size_t n = 0; n < count; ++n) shown += sums[n] > 0.0F;
  std::fill_n(planes, kWatchPlanes * count, 0.0F);
  if (shown == 0 || !(overall > 0.0F)) return 0.0F;
  const float within = overall * std::sqrt(static_cast<float>(count) / static_cast<float>(shown));
  const float least = request.floor * request.floor * within * within;

  const Vector source = solved(p, {-p[3], -p[7], -p[11]});
  const Vector arm{source[0] - request.pivot_lps_mm[0], source[1] - request.pivot_lps_mm[1],
                   source[2] - request.pivot_lps_mm[2]};
  const std::array<Vector, 3> ray{solved(p, {0.0, 0.0, 1.0}), solved(p, {1.0, 0.0, 0.0}), solved(p, {0.0, 1.0, 0.0})};
  std::array<Flow, kWatchMotions> flows{};
  for (std::size_t k = 0; k < kWatchMotions; ++k) {
    Vector unit{0.0, 0.0, 0.0};
    unit[k % 3] = k < 3 ? 1.0 : kDeg;
    const Vector moved = k < 3 ? unit : cross(unit, arm);
    Flow& flow = flows[k];
    flow.near_u = static_cast<float>(dot(&p[0], moved));
    flow.near_v = static_cast<float>(dot(&p[4], moved));
    flow.near_w = static_cast<float>(dot(&p[8], moved));
    for (std::size_t n = 0; n < 3; ++n) {
      const Vector turned = k < 3 ? Vector{0.0, 0.0, 0.0} : cross(unit, ray[n]);
      flow.far_u[n] = static_cast<float>(dot(&p[0], turned));
      flow.far_v[n] = static_cast<float>(dot(&p[4], turned));
      flow.far_w[n] = static_cast<float>(dot(&p[8], turned));
    }
  }
  const auto per_px = static_cast<float>(0.5 / request.step_px);
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t above = (r > 0 ? r - 1 : r) * columns;
    const std::size_t below = (r + 1 < rows ? r + 1 : r) * columns;
    const auto v = static_cast<float>(request.origin_v + request.step_px * static_cast<double>(r));
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t at = r * columns + c;
      const float local = contrast[at] * contrast[at];
      if (!(local + least > 0.0F)) continue;
      const float scale = 1.0F / std::sqrt(local + least);
      const float weight = local / (local + least);
      if (weight <= 0.0F) continue;
      const std::size_t left = r * columns + (c > 0 ? c - 1 : c);
      const std::size_t right = r * columns + (c + 1 < columns ? c + 1 : c);
      const float du = (plain[right] - plain[left]) * per_px * scale;
      const float dv = (plain[below + c] - plain[above + c]) * per_px * scale;
      const float ku = (inverse_depth[right] - inverse_depth[left]) * per_px * scale;
      const float kv = (inverse_depth[below + c] - inverse_depth[above + c]) * per_px * scale;
      const auto u = static_cast<float>(request.origin_u + request.step_px * static_cast<double>(c));
      planes[at] = weight;
      planes[count + at] = plain[at] * scale;
      for (std::size_t k = 0; k < kWatchMotions; ++k) {
        const Flow& flow = flows[k];
        float change = (flow.near_u - u * flow.near_w) * ku + (flow.near_v - v * flow.near_w) * kv;
        if (k >= 3) {
          const float fu = flow.far_u[0] + flow.far_u[1] * u + flow.far_u[2] * v;
          const float fv = flow.far_v[0] + flow.far_v[1] * u + flow.far_v[2] * v;
          const float fw = flow.far_w[0] + flow.far_w[1] * u + flow.far_w[2] * v;
          change += (fu - u * fw) * du + (fv - v * fw) * dv;
        }
        planes[(2 + k) * count + at] = -change;
      }
    }
  }
  return within;
}

WatchFit watch_fit(const float* picture, const float* valid, const float* planes, std::size_t rows, std::size_t columns,
                   const std::array<double, kWatchMotions>& prior, int rounds, float cut) {
  const std::size_t count = rows * columns;
  WatchFit fit{};
  const float* const weight = planes;
  // Chunks with nothing predicted say nothing.
  std::vector<std::size_t> chunks;
  for (std::size_t n = 0; n < count; n += kChunk)
    for (std::size_t at = n; at < std::min(n + kChunk, count); ++at)
      if (weight[at] * valid[at] > 0.0F) {
        chunks.push_back(n);
        break;
      }
  std::vector<float> sample;
  sample.reserve(count / kSampleStride + 1);
  std::array<float, kColumns> parameters{};
  float inverse_scale = 0.0F;
  std::array<float, kChunk*(kColumns + 3)> tail{};
  for (int round = 0; round <= rounds; ++round) {
    std::array<double, kPairs> pairs{};
    std::array<double, kColumns> right{};
    std::array<double, 11> totals{};
    for (const std::size_t first : chunks) {
      std::array<const float*, kColumns> column{};
      const float* y = picture + first;
      const float* mask = valid + first;
      const float* w = weight + first;
      for (std::size_t k = 0; k < kColumns; ++k) column[k] = planes + (1 + k) * count + first;
      if (first + kChunk > count) {  // the last one, filled up with nothing
        const auto padded = [&](const float* from, std::size_t slot) {
          std::copy(from, from + (count - first), tail.begin() + static_cast<std::ptrdiff_t>(slot * kChunk));
          return tail.data() + slot * kChunk;
        };
        for (std::size_t k = 0; k < kColumns; ++k) column[k] = padded(column[k], k);
        y = padded(y, kColumns);
        mask = padded(mask, kColumns + 1);
        w = padded(w, kColumns + 2);
      }
      accumulate(column.data(), y, mask, w, parameters.data(), inverse_scale, pairs.data(), right.data(),
                 totals.data());
    }
    if (totals[0] > 0.0) fit.variance = totals[1] / totals[0];
    fit.weight = totals[0];
    fit.plain = totals[2];
    fit.similarity = correlation(totals[4], totals[3], totals[5]);
    fit.told = correlation(totals[6], totals[7], totals[5]);
    fit.robust = correlation(totals[9], totals[8], totals[10]);
    std::array<double, kColumns * kColumns> normal{};
    std::size_t pair = 0;
    for (std::size_t i = 0; i < kColumns; ++i)
      for (std::size_t j = i; j < kColumns; ++j, ++pair)
        normal[i * kColumns + j] = normal[j * kColumns + i] = pairs[pair];
    fit.normal = normal;
    if (round == rounds || totals[0] <= 0.0) break;
    for (std::size_t k = 0; k < kWatchMotions; ++k) normal[(k + 1) * (kColumns + 1)] += prior[k] * fit.variance + 1e-12;
    normal[0] += 1e-12;
    std::array<double, kColumns> solution = right;
    if (!solve(normal, solution)) break;
    fit.parameters = solution;
    for (std::size_t k = 0; k < kColumns; ++k) parameters[k] = static_cast<float>(solution[k]);
    sample.clear();
    for (std::size_t n = 0; n < count; n += kSampleStride) {
      if (weight[n] * valid[n] < kCounts) continue;
      float fitted = 0.0F;
      for (std::size_t k = 0; k < kColumns; ++k) fitted += parameters[k] * planes[(1 + k) * count + n];
      sample.push_back(std::abs(picture[n] - fitted));
    }
    if (sample.empty()) break;
    const auto middle = sample.begin() + static_cast<std::ptrdiff_t>(sample.size() / 2);
    std::nth_element(sample.begin(), middle, sample.end());
    inverse_scale = 1.0F / (cut * 1.4826F * *middle + std::numeric_limits<float>::min());
  }
  return fit;
}

WatchShift watch_shift(const float* picture, const float* valid, const float* weight, const float* projection,
                       std::size_t rows, std::size_t columns, int reach) {
  WatchShift best{0, 0, -2.0};
  const auto height = static_cast<std::ptrdiff_t>(rows);
  const auto width = static_cast<std::ptrdiff_t>(columns);
  for (int dv = -reach; dv <= reach; ++dv)
    for (int du = -reach; du <= reach; ++du) {
      std::array<float, 3> sums{};
      const std::ptrdiff_t first_column = std::max<std::ptrdiff_t>(0, -du);
      const std::ptrdiff_t used = width - std::abs(du);
      if (used <= 0) continue;
      for (std::ptrdiff_t r = std::max<std::ptrdiff_t>(0, -dv); r < std::min(height, height - dv); ++r) {
        const std::ptrdiff_t from = r * width + first_column;
        const std::ptrdiff_t seen = (r + dv) * width + first_column + du;
        products(picture + seen, valid + seen, weight + from, projection + from, static_cast<std::size_t>(used),
                 sums.data());
      }
      const double similarity = correlation(sums[0], sums[1], sums[2]);
      if (similarity > best.similarity) best = {du, dv, similarity};
    }
  return best;
}

}  // namespace guidance
