// What both ways of binning share: what numbers mean, which of the picture is looked at.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cement.hpp"
#include "logarithm.hpp"

namespace guidance::cement {

constexpr float kTiny = 1e-20F;

struct Row {
  float low, high, base, sign, share, toward;
  std::int32_t bits;
  bool logarithm;
};

// Of the picture, in bins and pixels: what of it is looked at.
struct Field {
  std::size_t left, top, right, bottom;  // pixels, the last two exclusive
  std::size_t first, end;                // bins across that lie within as a whole
};
inline Field field_of(const Scale& scale) {
  const std::size_t step = scale.step, width = scale.columns * step, height = scale.rows * step;
  const auto bound = [](int value, std::size_t most) {
    return std::min(static_cast<std::size_t>(std::max(value, 0)), most);
  };
  Field field{bound(scale.field[0], width),
              bound(scale.field[1], height),
              bound(scale.field[2] + 1, width),
              bound(scale.field[3] + 1, height),
              0,
              0};
  field.right = std::max(field.right, field.left);
  field.bottom = std::max(field.bottom, field.top);
  field.first = (field.left + step - 1) / step;
  field.end = std::max(field.right / step, field.first);
  return field;
}

inline Row row_of(const Scale& scale) {
  return {static_cast<float>(scale.low),
          static_cast<float>(scale.high),
          static_cast<float>(scale.base),
          static_cast<float>(scale.sign),
          1.0F / static_cast<float>(scale.step * scale.step),
          static_cast<float>(scale.toward),
          scale.bits == 0 ? -1 : static_cast<std::int32_t>(scale.bits),
          scale.logarithm};
}

// Of whole numbers, more than one pixel per bin.
BinStats bin_whole(const Picture& picture, const Scale& scale, float* attenuation, std::uint8_t* valid);

}  // namespace guidance::cement
