// What a small rigid motion does to a projection, and which one the picture shows.
#include <algorithm>
#include <cmath>
#include <limits>

#include "watch.hpp"

namespace guidance {
namespace {

constexpr std::size_t kColumns = 1 + kWatchMotions;
constexpr std::size_t kTotals = 11;
constexpr std::size_t kPairs = kColumns * (kColumns + 1) / 2;
constexpr std::size_t kLanes = 16;
constexpr std::size_t kBlock = 512;
constexpr float kCounts = 0.05F;  // weight below which a bin says nothing of the scale of differences
constexpr std::size_t kSampleStride = 3;
constexpr double kDeg = 0.017453292519943295;

using Vector = std::array<double, 3>;

struct Sums {
  std::array<double, kPairs> pairs{};
  std::array<double, kColumns> right{};
  std::array<double, kTotals> totals{};
};

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

// One row: what divides it, how much it counts, and the divided projection.
GUIDANCE_CLONES void normalise(const float* __restrict plain, const float* __restrict square, float least,
                               std::size_t count, float* __restrict scale, float* __restrict weight,
                               float* __restrict projection) {
  for (std::size_t n = 0; n < count; ++n) {
    const float inverse = 1.0F / (square[n] + least);
    scale[n] = std::sqrt(inverse);
    weight[n] = square[n] * inverse;
    projection[n] = plain[n] * scale[n];
  }
}

// Slopes per px along u and v of one row that begins at `at`.
GUIDANCE_CLONES void slope(const float* __restrict from, std::size_t at, std::size_t above, std::size_t below,
                           std::size_t count, float per_px, const float* __restrict scale, float* __restrict along_u,
                           float* __restrict along_v) {
  for (std::size_t n = 1; n + 1 < count; ++n) along_u[n] = (from[at + n + 1] - from[at + n - 1]) * per_px * scale[n];
  along_u[0] = count > 1 ? (from[at + 1] - from[at]) * per_px * scale[0] : 0.0F;
  along_u[count - 1] = count > 1 ? (from[at + count - 1] - from[at + count - 2]) * per_px * scale[count - 1] : 0.0F;
  for (std::size_t n = 0; n < count; ++n) along_v[n] = (from[below + n] - from[above + n]) * per_px * scale[n];
}

// What one motion does to one row; `slopes`: of the projection along u and v, of the one over depth along u and v.
GUIDANCE_CLONES void change(const Flow& flow, float first_u, float step_u, float v, std::size_t count,
                            const float* __restrict slopes, float* __restrict out) {
  for (std::size_t n = 0; n < count; ++n) {
    const float u = first_u + step_u * static_cast<float>(static_cast<std::int32_t>(n));
    const float far_u = flow.far_u[0] + flow.far_u[1] * u + flow.far_u[2] * v;
    const float far_v = flow.far_v[0] + flow.far_v[1] * u + flow.far_v[2] * v;
    const float far_w = flow.far_w[0] + flow.far_w[1] * u + flow.far_w[2] * v;
    out[n] = -((flow.near_u - u * flow.near_w) * slopes[2 * count + n] +
               (flow.near_v - v * flow.near_w) * slopes[3 * count + n] + (far_u - u * far_w) * slopes[n] +
               (far_v - v * far_w) * slopes[count + n]);
  }
}

[[gnu::always_inline]] inline float dot(const float* __restrict a, const float* __restrict b, std::size_t count) {
  alignas(64) float lanes[kLanes] = {};
  for (std::size_t n = 0; n < count; n += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) lanes[l] += a[n + l] * b[n + l];
  float sum = 0.0F;
  for (const float lane : lanes) sum += lane;
  return sum;
}

// |picture - fit| of `count` bins; columns are `stride` apart, the picture comes after the last one.
GUIDANCE_CLONES void differences(const float* __restrict bins, std::size_t stride, const float* __restrict parameters,
                                 std::size_t count, float* __restrict off) {
  for (std::size_t n = 0; n < count; ++n) off[n] = bins[kColumns * stride + n];
  for (std::size_t k = 0; k < kColumns; ++k)
    for (std::size_t n = 0; n < count; ++n) off[n] -= parameters[k] * bins[k * stride + n];
  for (std::size_t n = 0; n < count; ++n) off[n] = std::abs(off[n]);
}

// One block of bins, a multiple of the lanes: weights from the differences, then all products. In `bins`, `stride`
// apart: the fit's columns, the picture, the weight before.
GUIDANCE_CLONES void accumulate(const float* __restrict bins, std::size_t stride, std::size_t count,
                                const float* __restrict parameters, float inverse_scale, Sums& sums) {
  alignas(64) float w[kBlock];
  alignas(64) float fitted[kBlock];
  alignas(64) float off[kBlock];
  alignas(64) float weighted[kBlock];
  const float* __restrict picture = bins + kColumns * stride;
  const float* __restrict plain = picture + stride;
  for (std::size_t n = 0; n < count; ++n) fitted[n] = parameters[0] * bins[n];
  for (std::size_t k = 1; k < kColumns; ++k)
    for (std::size_t n = 0; n < count; ++n) fitted[n] += parameters[k] * bins[k * stride + n];
  for (std::size_t n = 0; n < count; ++n) {
    off[n] = picture[n] - fitted[n];
    const float scaled = off[n] * inverse_scale;
    w[n] = plain[n] / (1.0F + scaled * scaled);
  }
  std::size_t pair = 0;
  for (std::size_t i = 0; i < kColumns; ++i) {
    for (std::size_t n = 0; n < count; ++n) weighted[n] = w[n] * bins[i * stride + n];
    for (std::size_t j = i; j < kColumns; ++j, ++pair) sums.pairs[pair] += dot(weighted, bins + j * stride, count);
    sums.right[i] += dot(weighted, picture, count);
  }
  // w, w off^2, plain weight; for the similarities: plain ff fy yy dy dd, robust ff fy yy
  alignas(64) float one[kBlock];
  for (std::size_t n = 0; n < count; ++n) one[n] = 1.0F;
  sums.totals[0] += dot(w, one, count);
  sums.totals[2] += dot(plain, one, count);
  for (std::size_t n = 0; n < count; ++n) weighted[n] = w[n] * off[n];
  sums.totals[1] += dot(weighted, off, count);
  for (std::size_t n = 0; n < count; ++n) weighted[n] = plain[n] * fitted[n];
  sums.totals[3] += dot(weighted, fitted, count);
  sums.totals[4] += dot(weighted, picture, count);
  for (std::size_t n = 0; n < count; ++n) weighted[n] = plain[n] * picture[n];
  sums.totals[5] += dot(weighted, picture, count);
  sums.totals[6] += dot(weighted, bins, count);
  for (std::size_t n = 0; n < count; ++n) weighted[n] = plain[n] * bins[n];
  sums.totals[7] += dot(weighted, bins, count);
  for (std::size_t n = 0; n < count; ++n) weighted[n] = w[n] * fitted[n];
  sums.totals[8] += dot(weighted, fitted, count);
  sums.totals[9] += dot(weighted, picture, count);
  for (std::size_t n = 0; n < count; ++n) weighted[n] = w[n] * picture[n];
  sums.totals[10] += dot(weighted, picture, count);
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
  const float overall = watch_high_pass(sums, ones.data(), rows, columns, request.mean_radius, plain.data());
  watch_high_pass(inverse_depth.data(), ones.data(), rows, columns, request.mean_radius, unused.data());
  inverse_depth.swap(unused);
  watch_local_square(plain.data(), ones.data(), rows, columns, request.contrast_radius, contrast.data());
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
  std::vector<float> slopes(4 * columns), scale(columns);
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t above = (r > 0 ? r - 1 : r) * columns;
    const std::size_t below = (r + 1 < rows ? r + 1 : r) * columns;
    const std::size_t at = r * columns;
    normalise(plain.data() + at, contrast.data() + at, least, columns, scale.data(), planes + at, planes + count + at);
    slope(plain.data(), at, above, below, columns, per_px, scale.data(), slopes.data(), slopes.data() + columns);
    slope(inverse_depth.data(), at, above, below, columns, per_px, scale.data(), slopes.data() + 2 * columns,
          slopes.data() + 3 * columns);
    const auto v = static_cast<float>(request.origin_v + request.step_px * static_cast<double>(r));
    for (std::size_t k = 0; k < kWatchMotions; ++k)
      change(flows[k], static_cast<float>(request.origin_u), static_cast<float>(request.step_px), v, columns,
             slopes.data(), planes + (2 + k) * count + at);
  }
  return within;
}

WatchFit watch_fit(const float* picture, const float* valid, const float* planes, std::size_t rows, std::size_t columns,
                   const std::array<double, kWatchMotions>& prior, int rounds, float cut) {
  const std::size_t count = rows * columns;
  WatchFit fit{};
  // What next to nothing is predicted of is left out, lane by lane; the rest lies together.
  std::vector<std::size_t> kept;
  kept.reserve(count / kLanes + 1);
  for (std::size_t n = 0; n < count; n += kLanes)
    for (std::size_t at = n; at < std::min(n + kLanes, count); ++at)
      if (planes[at] * valid[at] > kCounts) {
        kept.push_back(n);
        break;
      }
  const std::size_t stride = kept.size() * kLanes;
  if (stride == 0) return fit;
  std::vector<float> bins((kColumns + 2) * stride, 0.0F);
  for (std::size_t n = 0; n < kept.size(); ++n) {
    const std::size_t first = kept[n];
    const std::size_t size = std::min(kLanes, count - first);
    for (std::size_t k = 0; k < kColumns; ++k)
      std::copy_n(planes + (1 + k) * count + first, size, bins.data() + k * stride + n * kLanes);
    std::copy_n(picture + first, size, bins.data() + kColumns * stride + n * kLanes);
    float* const weight = bins.data() + (kColumns + 1) * stride + n * kLanes;
    for (std::size_t l = 0; l < size; ++l) weight[l] = planes[first + l] * valid[first + l];
  }
  const float* const weight = bins.data() + (kColumns + 1) * stride;
  std::vector<float> sample;
  sample.reserve(stride);
  std::array<float, kColumns> parameters{};
  float inverse_scale = 0.0F;
  for (int round = 0; round <= rounds; ++round) {
    Sums sums;
    for (std::size_t first = 0; first < stride; first += kBlock)
      accumulate(bins.data() + first, stride, std::min(kBlock, stride - first), parameters.data(), inverse_scale, sums);
    const auto& totals = sums.totals;
    if (totals[0] > 0.0) fit.variance = totals[1] / totals[0];
    fit.weight = totals[0];
    fit.plain = totals[2];
    fit.similarity = correlation(totals[4], totals[3], totals[5]);
    fit.told = correlation(totals[6], totals[7], totals[5]);
    fit.robust = correlation(totals[9], totals[8], totals[10]);
    std::size_t pair = 0;
    for (std::size_t i = 0; i < kColumns; ++i)
      for (std::size_t j = i; j < kColumns; ++j, ++pair)
        fit.normal[i * kColumns + j] = fit.normal[j * kColumns + i] = sums.pairs[pair];
    if (round == rounds || totals[0] <= 0.0) break;
    std::array<double, kColumns * kColumns> normal = fit.normal;
    for (std::size_t k = 0; k < kWatchMotions; ++k) normal[(k + 1) * (kColumns + 1)] += prior[k] * fit.variance + 1e-12;
    normal[0] += 1e-12;
    std::array<double, kColumns> solution = sums.right;
    if (!solve(normal, solution)) break;
    fit.parameters = solution;
    for (std::size_t k = 0; k < kColumns; ++k) parameters[k] = static_cast<float>(solution[k]);
    // The differences' scale from every third lane group.
    sample.clear();
    for (std::size_t first = 0; first < stride; first += kSampleStride * kLanes) {
      std::array<float, kLanes> off;
      differences(bins.data() + first, stride, parameters.data(), kLanes, off.data());
      for (std::size_t l = 0; l < kLanes; ++l)
        if (weight[first + l] >= kCounts) sample.push_back(off[l]);
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
