// The camera of a cone projection in a volume's (padded) voxel indices.
#pragma once

#include <array>
#include <cmath>
#include <stdexcept>

#include "drr.hpp"

namespace guidance {

using DrrVector = std::array<double, 3>;

struct DrrRay {
  DrrVector step;  // voxel indices (i, j, k) per unit of w
  double length_mm;
};

// The two interpolated axes of a main axis, by index into (i, j, k): strided, then contiguous.
struct DrrLateral {
  int a, b;
};
constexpr std::array<DrrLateral, 3> kDrrLateral{{{2, 1}, {2, 0}, {1, 0}}};

struct ConeCamera {
  std::array<double, 9> ijk_from_pixel;
  std::array<double, 9> mm_from_ijk;
  DrrVector source;  // in padded indices

  explicit ConeCamera(const ConeRequest& request) : mm_from_ijk(request.mm_from_ijk) {
    const auto& p = request.pixel_from_ijk;
    ijk_from_pixel = inverse({p[0], p[1], p[2], p[4], p[5], p[6], p[8], p[9], p[10]});
    source = times(ijk_from_pixel, {-p[3], -p[7], -p[11]});
    for (double& index : source) index += 1.0;
  }

  DrrRay ray(double u, double v) const {
    const DrrVector step = times(ijk_from_pixel, {u, v, 1.0});
    const DrrVector mm = times(mm_from_ijk, step);
    return {step, std::sqrt(mm[0] * mm[0] + mm[1] * mm[1] + mm[2] * mm[2])};
  }

  static DrrVector times(const std::array<double, 9>& m, const DrrVector& x) {
    return {m[0] * x[0] + m[1] * x[1] + m[2] * x[2], m[3] * x[0] + m[4] * x[1] + m[5] * x[2],
            m[6] * x[0] + m[7] * x[1] + m[8] * x[2]};
  }

  static std::array<double, 9> inverse(const std::array<double, 9>& m) {
    const double c0 = m[4] * m[8] - m[5] * m[7];
    const double c1 = m[5] * m[6] - m[3] * m[8];
    const double c2 = m[3] * m[7] - m[4] * m[6];
    const double determinant = m[0] * c0 + m[1] * c1 + m[2] * c2;
    const double s = 1.0 / determinant;
    if (!std::isfinite(s)) throw std::invalid_argument("pixel_from_patient has no source: its left block is singular");
    return {c0 * s, (m[2] * m[7] - m[1] * m[8]) * s, (m[1] * m[5] - m[2] * m[4]) * s,
            c1 * s, (m[0] * m[8] - m[2] * m[6]) * s, (m[2] * m[3] - m[0] * m[5]) * s,
            c2 * s, (m[1] * m[6] - m[0] * m[7]) * s, (m[0] * m[4] - m[1] * m[3]) * s};
  }
};

}  // namespace guidance
