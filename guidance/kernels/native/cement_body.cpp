#include "cement_body.hpp"

#include <algorithm>
#include <cmath>

namespace guidance {
namespace {

constexpr float kLargestStep = 30.0F;
constexpr float kTinyMm = 1e-6F;

struct Camera {
  std::array<double, 12> m;
  std::array<double, 3> source;
  double focal2;

  explicit Camera(const std::array<double, 12>& matrix) : m(matrix) {
    const double c0 = m[5] * m[10] - m[6] * m[9];
    const double c1 = m[6] * m[8] - m[4] * m[10];
    const double c2 = m[4] * m[9] - m[5] * m[8];
    const double determinant = m[0] * c0 + m[1] * c1 + m[2] * c2;
    focal2 = std::abs(determinant);
    const double p = m[3], q = m[7], r = m[11];
    // -M^-1 t by Cramer's rule.
    source[0] = -(p * c0 + q * (m[2] * m[9] - m[1] * m[10]) + r * (m[1] * m[6] - m[2] * m[5])) / determinant;
    source[1] = -(p * c1 + q * (m[0] * m[10] - m[2] * m[8]) + r * (m[2] * m[4] - m[0] * m[6])) / determinant;
    source[2] = -(p * c2 + q * (m[1] * m[8] - m[0] * m[9]) + r * (m[0] * m[5] - m[1] * m[4])) / determinant;
  }
};

// 1 2 1 along one axis, nothing outside.
void smooth(float* box, const std::array<std::size_t, 3>& shape, int axis, std::vector<float>& before) {
  const std::size_t step = axis == 0 ? shape[1] * shape[2] : axis == 1 ? shape[2] : 1;
  const std::size_t count = shape[static_cast<std::size_t>(axis)];
  const std::size_t outer = shape[0] * shape[1] * shape[2] / (count * step);
  if (step == 1) {
    for (std::size_t line = 0; line < outer; ++line) {
      float* const at = box + line * count;
      float last = 0.0F;
      for (std::size_t n = 0; n < count; ++n) {
        const float here = at[n];
        const float next = n + 1 < count ? at[n + 1] : 0.0F;
        at[n] = 0.25F * (last + next) + 0.5F * here;
        last = here;
      }
    }
    return;
  }
  before.resize(step);
  for (std::size_t slab = 0; slab < outer; ++slab) {
    float* const at = box + slab * count * step;
    std::fill(before.begin(), before.end(), 0.0F);
    for (std::size_t n = 0; n < count; ++n) {
      float* const here = at + n * step;
      const float* const next = n + 1 < count ? here + step : nullptr;
      for (std::size_t i = 0; i < step; ++i) {
        const float own = here[i];
        here[i] = 0.25F * (before[i] + (next != nullptr ? next[i] : 0.0F)) + 0.5F * own;
        before[i] = own;
      }
    }
  }
}

}  // namespace

void CementBody::place(const BodyRequest& request, const std::vector<BodyView>& views) {
  voxels_.clear();
  shares_.clear();
  taps_.resize(std::max(taps_.size(), views.size()));
  for (auto& taps : taps_) taps.clear();
  std::vector<Camera> cameras;
  cameras.reserve(views.size());
  for (const BodyView& view : views) cameras.emplace_back(view.bin_from_patient);
  std::vector<Tap> here(views.size());
  const auto [planes, rows, columns] = request.shape_kji;
  const double h = request.spacing_mm;
  const double volume = h * h * h;
  std::size_t index = 0;
  for (std::size_t k = 0; k < planes; ++k) {
    const double z = request.first_mm[2] + h * static_cast<double>(k);
    for (std::size_t j = 0; j < rows; ++j) {
      const double y = request.first_mm[1] + h * static_cast<double>(j);
      for (std::size_t i = 0; i < columns; ++i, ++index) {
        float weight = request.prior[index];
        if (!(weight > 0.0F)) continue;
        const double x = request.first_mm[0] + h * static_cast<double>(i);
        for (std::size_t n = 0; n < views.size(); ++n) {
          const BodyView& view = views[n];
          const Camera& camera = cameras[n];
          const auto& m = camera.m;
          const double w = m[8] * x + m[9] * y + m[10] * z + m[11];
          if (!(w > 1.0)) {
            weight = 0.0F;
            break;
          }
          const double u = (m[0] * x + m[1] * y + m[2] * z + m[3]) / w;
          const double v = (m[4] * x + m[5] * y + m[6] * z + m[7]) / w;
          const double last_u = static_cast<double>(view.columns);
          const double last_v = static_cast<double>(view.rows);
          const bool on = u >= -0.5 && v >= -0.5 && u < last_u - 0.5 && v < last_v - 0.5;
          weight *=
              on ? view.reach[static_cast<std::size_t>(v + 0.5) * view.columns + static_cast<std::size_t>(u + 0.5)]
                 : view.beyond;
          if (!(weight > 0.0F)) break;
          const double dx = x - camera.source[0], dy = y - camera.source[1], dz = z - camera.source[2];
          // mm per bin = volume * focal2 / (w^2 cosine), cosine = w / distance.
          const double length = volume * camera.focal2 * std::sqrt(dx * dx + dy * dy + dz * dz) / (w * w * w);
          if (u <= -1.0 || v <= -1.0 || u >= last_u || v >= last_v) {
            here[n] = {0, 0.0F, 0.0F, static_cast<float>(length)};  // a corner of the rim, which says nothing
            continue;
          }
          const double left = std::floor(u), top = std::floor(v);
          here[n] = {static_cast<std::int32_t>((top + 1.0) * (last_u + 2.0) + left + 1.0), static_cast<float>(u - left),
                     static_cast<float>(v - top), static_cast<float>(length)};
        }
        if (!(weight > 0.0F)) continue;
        voxels_.push_back(static_cast<std::uint32_t>(index));
        shares_.push_back(std::min(weight, 1.0F));
        for (std::size_t n = 0; n < views.size(); ++n) taps_[n].push_back(here[n]);
      }
    }
  }
}

void CementBody::ratios(const BodyView& view, std::size_t number, bool lower) {
  const std::size_t stride = view.columns + 2;
  sums_.assign(stride * (view.rows + 2), 0.0F);
  float* const sums = sums_.data();
  const std::vector<Tap>& taps = taps_[number];
  for (std::size_t n = 0; n < taps.size(); ++n) {
    const Tap& tap = taps[n];
    const float mm = shares_[n] * tap.length_mm;
    const float below = mm * tap.down, above = mm - below;
    float* const at = sums + tap.bin;
    at[0] += above * (1.0F - tap.right);
    at[1] += above * tap.right;
    at[stride] += below * (1.0F - tap.right);
    at[stride + 1] += below * tap.right;
  }
  for (std::size_t v = 0; v < view.rows; ++v) {
    float* const to = sums + (v + 1) * stride + 1;
    const float* const thickness = view.thickness + v * view.columns;
    const std::uint8_t* const valid = view.valid + v * view.columns;
    for (std::size_t u = 0; u < view.columns; ++u) {
      float ratio = std::clamp(thickness[u] / (to[u] + kTinyMm), 0.0F, kLargestStep);
      if (lower) ratio = std::max(ratio, 1.0F);
      to[u] = valid[u] != 0 ? ratio : 1.0F;
    }
    to[-1] = to[view.columns] = 1.0F;
  }
  std::fill_n(sums, stride, 1.0F);
  std::fill_n(sums + (view.rows + 1) * stride, stride, 1.0F);
}

void CementBody::round(const BodyView& view, std::size_t number, bool lower) {
  ratios(view, number, lower);
  const std::size_t stride = view.columns + 2;
  const std::vector<Tap>& taps = taps_[number];
  for (std::size_t n = 0; n < taps.size(); ++n) {
    const Tap& tap = taps[n];
    const float* const at = sums_.data() + tap.bin;
    const float above = at[0] + tap.right * (at[1] - at[0]);
    const float below = at[stride] + tap.right * (at[stride + 1] - at[stride]);
    shares_[n] = std::min(shares_[n] * (above + tap.down * (below - above)), 1.0F);
  }
}

void CementBody::sharpen(const BodyRequest& request, float* box) {
  const std::size_t size = request.shape_kji[0] * request.shape_kji[1] * request.shape_kji[2];
  std::fill_n(box, size, 0.0F);
  for (std::size_t n = 0; n < voxels_.size(); ++n) box[voxels_[n]] = shares_[n];
  for (int axis = 0; axis < 3; ++axis) smooth(box, request.shape_kji, axis, row_);
  for (std::size_t n = 0; n < voxels_.size(); ++n) {
    const float share = box[voxels_[n]];
    shares_[n] = std::min(share * share * (3.0F - 2.0F * share), 1.0F);
  }
}

void CementBody::fit(const BodyRequest& request, const std::vector<BodyView>& views, float* share,
                     std::uint8_t* possible, double* volumes_mm3) {
  place(request, views);
  for (int n = 0; n < request.rounds; ++n) {
    for (std::size_t v = 0; v < views.size(); ++v) round(views[v], v, views[v].lower);
  }
  for (int n = 0; n < request.sharpenings; ++n) {
    sharpen(request, share);
    for (int again = 0; again < 2; ++again) {
      for (std::size_t v = 0; v < views.size(); ++v) round(views[v], v, views[v].lower);
    }
  }
  const std::size_t size = request.shape_kji[0] * request.shape_kji[1] * request.shape_kji[2];
  std::fill_n(share, size, 0.0F);
  std::fill_n(possible, size, std::uint8_t{0});
  for (std::size_t n = 0; n < voxels_.size(); ++n) {
    share[voxels_[n]] = shares_[n];
    possible[voxels_[n]] = 1;
  }
  const double voxel = request.spacing_mm * request.spacing_mm * request.spacing_mm;
  for (std::size_t v = 0; v < views.size(); ++v) {
    ratios(views[v], v, false);
    const std::size_t stride = views[v].columns + 2;
    double total = 0.0;
    for (std::size_t n = 0; n < voxels_.size(); ++n) {
      if (request.counted[voxels_[n]] == 0) continue;
      const Tap& tap = taps_[v][n];
      const float* const at = sums_.data() + tap.bin;
      const float above = at[0] + tap.right * (at[1] - at[0]);
      const float below = at[stride] + tap.right * (at[stride + 1] - at[stride]);
      total += static_cast<double>(shares_[n] * (above + tap.down * (below - above)));
    }
    volumes_mm3[v] = total * voxel;
  }
}

}  // namespace guidance
