// What both scales of the detection share.
#pragma once

#include <cstddef>

namespace guidance::cement {

constexpr float kModel = 0.0025F;         // contrast: drifts over some millimetres
constexpr float kMedianShare = 0.6745F;   // of white noise: the median of its size
constexpr std::size_t kStride = 61;       // bins from one to the next that noise is told from
constexpr std::size_t kLeastPixels = 10;  // of a region on its own

}  // namespace guidance::cement
