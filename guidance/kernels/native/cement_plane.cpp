// Planes: smoothing, halving, growing and shrinking marks, and taking a frame to where the reference is.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cement.hpp"

namespace guidance::cement {
namespace {

GUIDANCE_CLONES void columns_of_five(const float* __restrict a, const float* __restrict b, const float* __restrict c,
                                     const float* __restrict d, const float* __restrict e, std::size_t count,
                                     float* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) to[n] = (a[n] + e[n] + 4.0F * (b[n] + d[n]) + 6.0F * c[n]) * 0.0625F;
}
GUIDANCE_CLONES void row_of_five(const float* __restrict from, std::size_t count, float* __restrict to) {
  for (std::size_t n = 0; n < count; ++n)
    to[n] = (from[n] + from[n + 4] + 4.0F * (from[n + 1] + from[n + 3]) + 6.0F * from[n + 2]) * 0.0625F;
}

GUIDANCE_CLONES void combine(std::uint8_t* __restrict to, const std::uint8_t* __restrict from, std::size_t count) {
  for (std::size_t n = 0; n < count; ++n) to[n] |= from[n];
}
GUIDANCE_CLONES void invert(const std::uint8_t* from, std::size_t count, std::uint8_t* to) {
  for (std::size_t n = 0; n < count; ++n) to[n] = from[n] ? 0 : 1;
}

GUIDANCE_CLONES void halve_row(const float* __restrict a, const float* __restrict b,
                               const std::uint8_t* __restrict valid_a, const std::uint8_t* __restrict valid_b,
                               std::size_t count, float* __restrict to, std::uint8_t* __restrict to_valid) {
  for (std::size_t n = 0; n < count; ++n) {
    const auto good =
        static_cast<std::uint8_t>(valid_a[2 * n] & valid_a[2 * n + 1] & valid_b[2 * n] & valid_b[2 * n + 1] & 1U);
    to[n] = good ? 0.25F * (a[2 * n] + a[2 * n + 1] + b[2 * n] + b[2 * n + 1]) : 0.0F;
    to_valid[n] = good;
  }
}

// Keys' cubic with a = -1/2 (IEEE Trans. ASSP 29(6), 1981) at fraction f.
struct Cubic {
  float a, b, c, d;
};
[[gnu::always_inline]] inline Cubic cubic(float f) {
  const float f2 = f * f, f3 = f2 * f;
  return {0.5F * (-f3 + 2.0F * f2 - f), 0.5F * (3.0F * f3 - 5.0F * f2 + 2.0F), 0.5F * (-3.0F * f3 + 4.0F * f2 + f),
          0.5F * (f3 - f2)};
}

// A run of pixels whose whole offsets do not change: fractions go on linearly.
GUIDANCE_CLONES void warp_run(const float* __restrict first, std::size_t stride, std::size_t count, float fu, float fv,
                              float step_u, float step_v, float* __restrict to) {
  const float* __restrict row0 = first;
  const float* __restrict row1 = first + stride;
  const float* __restrict row2 = first + 2 * stride;
  const float* __restrict row3 = first + 3 * stride;
  for (std::size_t n = 0; n < count; ++n) {
    const auto along = static_cast<float>(static_cast<std::int32_t>(n));
    const Cubic u = cubic(fu + along * step_u);
    const Cubic v = cubic(fv + along * step_v);
    const float a = u.a * row0[n] + u.b * row0[n + 1] + u.c * row0[n + 2] + u.d * row0[n + 3];
    const float b = u.a * row1[n] + u.b * row1[n + 1] + u.c * row1[n + 2] + u.d * row1[n + 3];
    const float c = u.a * row2[n] + u.b * row2[n + 1] + u.c * row2[n + 2] + u.d * row2[n + 3];
    const float d = u.a * row3[n] + u.b * row3[n + 1] + u.c * row3[n + 2] + u.d * row3[n + 3];
    to[n] = v.a * a + v.b * b + v.c * c + v.d * d;
  }
}

GUIDANCE_CLONES void valid_run(const std::uint8_t* first, std::size_t stride, std::size_t count, float* __restrict to,
                               std::uint8_t* __restrict marks) {
  for (std::size_t n = 0; n < count; ++n) {
    std::uint8_t all = 1;
    for (std::size_t r = 0; r < 4; ++r)
      for (std::size_t c = 0; c < 4; ++c) all &= first[n + r * stride + c];
    marks[n] = all;
    to[n] = all ? to[n] : 0.0F;
  }
}

}  // namespace

GUIDANCE_CLONES double total(const float* line, std::size_t count) {
  constexpr std::size_t kLanes = 16;
  float lanes[kLanes] = {};
  std::size_t n = 0;
  for (; n + kLanes <= count; n += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) lanes[l] += line[n + l];
  double sum = 0.0;
  for (; n < count; ++n) sum += line[n];
  for (const float lane : lanes) sum += lane;
  return sum;
}

void smooth(const float* from, std::size_t rows, std::size_t columns, float* scratch, float* to) {
  const auto row = [&](std::ptrdiff_t r) {
    return from +
           static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(r, 0, static_cast<std::ptrdiff_t>(rows) - 1)) * columns;
  };
  for (std::size_t n = 0; n < rows; ++n) {
    const auto r = static_cast<std::ptrdiff_t>(n);
    float* const line = scratch + 2;
    columns_of_five(row(r - 2), row(r - 1), row(r), row(r + 1), row(r + 2), columns, line);
    scratch[0] = scratch[1] = line[0];
    line[columns] = line[columns + 1] = line[columns - 1];
    row_of_five(scratch, columns, to + n * columns);
  }
}

GUIDANCE_CLONES void mark_also(std::uint8_t* __restrict to, const std::uint8_t* __restrict from, std::size_t count) {
  for (std::size_t n = 0; n < count; ++n) to[n] |= from[n];
}
GUIDANCE_CLONES void mark_only(std::uint8_t* __restrict to, const std::uint8_t* __restrict without, std::size_t count) {
  for (std::size_t n = 0; n < count; ++n) to[n] = without[n] ? 0 : to[n];
}
GUIDANCE_CLONES void mark_missing(std::uint8_t* __restrict to, const std::uint8_t* __restrict seen, std::size_t count) {
  for (std::size_t n = 0; n < count; ++n) to[n] |= static_cast<std::uint8_t>(seen[n] ^ 1U);
}
GUIDANCE_CLONES std::size_t count_both(const std::uint8_t* __restrict a, const std::uint8_t* __restrict b,
                                       std::size_t count) {
  std::uint32_t sum = 0;
  for (std::size_t n = 0; n < count; ++n) sum += a[n] & b[n];
  return sum;
}
GUIDANCE_CLONES bool any_mark(const std::uint8_t* marks, std::size_t count) {
  std::uint8_t any = 0;
  for (std::size_t n = 0; n < count; ++n) any |= marks[n];
  return any != 0;
}

namespace {

// Grows what is in `from` (rows of it may be all 0) into `to`.
void grow(const std::uint8_t* from, std::size_t rows, std::size_t columns, std::size_t reach, std::uint8_t* scratch,
          std::uint8_t* to) {
  thread_local std::vector<std::uint8_t> filled;
  filled.resize(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    const std::uint8_t* const row = from + r * columns;
    filled[r] = any_mark(row, columns) ? 1 : 0;
    if (!filled[r]) continue;
    std::uint8_t* const out = scratch + r * columns;
    std::copy_n(row, columns, out);
    for (std::size_t n = 1; n <= std::min(reach, columns - 1); ++n) {
      combine(out + n, row, columns - n);
      combine(out, row + n, columns - n);
    }
  }
  for (std::size_t r = 0; r < rows; ++r) {
    std::uint8_t* const out = to + r * columns;
    std::fill_n(out, columns, std::uint8_t{0});
    for (std::size_t n = r > reach ? r - reach : 0; n <= std::min(r + reach, rows - 1); ++n)
      if (filled[n]) combine(out, scratch + n * columns, columns);
  }
}

}  // namespace

void dilate(const std::uint8_t* from, std::size_t rows, std::size_t columns, std::size_t reach, std::uint8_t* scratch,
            std::uint8_t* to) {
  grow(from, rows, columns, reach, scratch, to);
}

void erode(const std::uint8_t* from, std::size_t rows, std::size_t columns, std::size_t reach, std::uint8_t* scratch,
           std::uint8_t* to) {
  // What is not marked grows; beyond the border nothing is.
  thread_local std::vector<std::uint8_t> missing;
  missing.resize(rows * columns);
  invert(from, rows * columns, missing.data());
  grow(missing.data(), rows, columns, reach, scratch, to);
  invert(to, rows * columns, to);
}

void halve(const float* from, const std::uint8_t* valid, std::size_t rows, std::size_t columns, float* to,
           std::uint8_t* to_valid) {
  for (std::size_t r = 0; r < rows / 2; ++r)
    halve_row(from + 2 * r * columns, from + (2 * r + 1) * columns, valid + 2 * r * columns,
              valid + (2 * r + 1) * columns, columns / 2, to + r * (columns / 2), to_valid + r * (columns / 2));
}

void warp(const float* frame, const std::uint8_t* valid, std::size_t rows, std::size_t columns, const Motion& motion,
          float* out, std::uint8_t* out_valid) {
  const double middle_u = (static_cast<double>(columns) - 1.0) / 2.0;
  const double middle_v = (static_cast<double>(rows) - 1.0) / 2.0;
  const double cosine = std::cos(motion.turn), sine = std::sin(motion.turn);
  std::fill_n(out, rows * columns, 0.0F);
  std::fill_n(out_valid, rows * columns, std::uint8_t{0});
  if (rows < 4 || columns < 4) return;
  const auto most_u = static_cast<double>(columns - 3), most_v = static_cast<double>(rows - 3);
  for (std::size_t r = 0; r < rows; ++r) {
    const double y = static_cast<double>(r) - middle_v;
    const double first_u = middle_u + motion.du - cosine * middle_u - sine * y;
    const double first_v = middle_v + motion.dv - sine * middle_u + cosine * y;
    std::size_t c = 0;
    while (c < columns) {
      const double u = first_u + cosine * static_cast<double>(c);
      const double v = first_v + sine * static_cast<double>(c);
      if (!(u >= 1.0 && u < most_u + 1.0 && v >= 1.0 && v < most_v + 1.0)) {
        ++c;
        continue;
      }
      // As far as the whole offsets stay the same: u - c changes by cosine - 1 a pixel, v by sine.
      const double offset = std::floor(u - static_cast<double>(c) + 1e-9);
      const double row = std::min(std::floor(v), most_v);
      double reach = static_cast<double>(columns - c);
      const double fu = u - static_cast<double>(c) - offset, fv = v - row;
      const double shrink = 1.0 - cosine;
      if (shrink > 0.0) reach = std::min(reach, std::floor(std::max(fu, 0.0) / shrink) + 1.0);
      if (sine > 0.0) reach = std::min(reach, std::floor((1.0 - fv) / sine) + 1.0);
      if (sine < 0.0) reach = std::min(reach, std::floor(fv / -sine) + 1.0);
      reach = std::min(reach, static_cast<double>(columns) - 2.0 - offset - static_cast<double>(c));
      const auto count = static_cast<std::size_t>(std::max(reach, 1.0));
      const auto column = static_cast<std::ptrdiff_t>(c) + static_cast<std::ptrdiff_t>(offset);
      if (column < 1 || column + 2 + static_cast<std::ptrdiff_t>(count) > static_cast<std::ptrdiff_t>(columns)) {
        ++c;
        continue;
      }
      const std::size_t from = (static_cast<std::size_t>(row) - 1) * columns + static_cast<std::size_t>(column - 1);
      const std::size_t at = r * columns + c;
      warp_run(frame + from, columns, count, static_cast<float>(fu), static_cast<float>(fv),
               static_cast<float>(cosine - 1.0), static_cast<float>(sine), out + at);
      valid_run(valid + from, columns, count, out + at, out_valid + at);
      c += count;
    }
  }
}

}  // namespace guidance::cement
