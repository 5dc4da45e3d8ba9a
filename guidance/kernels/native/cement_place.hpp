// A place in the frame (pixels) on the reference's grid, and back.
#pragma once

#include <array>
#include <cmath>

#include "cement_tracker.hpp"

namespace guidance::cement {

struct Place {
  double cosine, sine, du, dv, middle_u, middle_v, step, shift;
  Place(const Motion& motion, const Setup& setup)
      : cosine(std::cos(motion.turn)),
        sine(std::sin(motion.turn)),
        du(motion.du),
        dv(motion.dv),
        middle_u((static_cast<double>(setup.columns) - 1.0) / 2.0),
        middle_v((static_cast<double>(setup.rows) - 1.0) / 2.0),
        step(static_cast<double>(setup.step)),
        shift((step - 1.0) / 2.0) {}
  std::array<double, 2> frame(double u, double v) const {
    const double x = u - middle_u, y = v - middle_v;
    return {(cosine * x - sine * y + middle_u + du) * step + shift,
            (sine * x + cosine * y + middle_v + dv) * step + shift};
  }
  std::array<double, 2> grid(double u, double v) const {
    const double x = (u - shift) / step - du - middle_u, y = (v - shift) / step - dv - middle_v;
    return {cosine * x + sine * y + middle_u, -sine * x + cosine * y + middle_v};
  }
};

}  // namespace guidance::cement
