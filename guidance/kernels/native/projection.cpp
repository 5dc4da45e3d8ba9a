// Points through a 3x4 cone-beam matrix.
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels.hpp"

namespace guidance {

// (count, 3) mm -> (count, 3) u, v in px and w in mm; u and v are NaN where w is not > 0 or they are not finite.
GUIDANCE_CLONES void project_points(const void* points_mm, std::size_t count, const void* pixel_from_patient,
                                    void* uvw) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  double p[12];
  std::memcpy(p, pixel_from_patient, sizeof p);
  const auto* from = static_cast<const std::uint8_t*>(points_mm);
  auto* to = static_cast<std::uint8_t*>(uvw);
  for (std::size_t i = 0; i < count; ++i) {
    double x[3];
    std::memcpy(x, from + sizeof x * i, sizeof x);
    const double a = p[0] * x[0] + p[1] * x[1] + p[2] * x[2] + p[3];
    const double b = p[4] * x[0] + p[5] * x[1] + p[6] * x[2] + p[7];
    const double w = p[8] * x[0] + p[9] * x[1] + p[10] * x[2] + p[11];
    const double u = a / w;
    const double v = b / w;
    const bool seen = w > 0.0 && std::abs(u) <= std::numeric_limits<double>::max() &&
                      std::abs(v) <= std::numeric_limits<double>::max();
    const double result[3] = {seen ? u : kNan, seen ? v : kNan, w};
    std::memcpy(to + sizeof result * i, result, sizeof result);
  }
}

}  // namespace guidance
