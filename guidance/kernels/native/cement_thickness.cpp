// How thick cement is, row by row: from contrast to what is left of the primary beam, and from that to millimetres.
#include "cement_thickness.hpp"

#include <cstdint>

#include "exponential.hpp"
#include "logarithm.hpp"

namespace guidance::cement {
namespace {

constexpr float kLeastPrimary = 0.02F;  // of the primary beam: less is not told from scatter
constexpr float kMostContrast = 80.0F;  // e^-80 is nothing

}  // namespace

GUIDANCE_CLONES void thickness_row(const ThicknessRow& from, std::size_t count, const ThicknessTable& table,
                                   float reference_share, const ThicknessTold& to) {
  const float* __restrict fine = from.fine;
  const float* __restrict scatter = from.scatter;
  const float* __restrict shares = from.share;
  const float* __restrict millimetres = table.thickness;
  float* __restrict thickness = to.thickness;
  float* __restrict loss = to.loss;
  float* __restrict slopes = to.slope;
  float* __restrict noise = to.noise;
  const float per_step = 1.0F / table.step, last = static_cast<float>(static_cast<std::int32_t>(table.entries) - 2);
  for (std::size_t n = 0; n < count; ++n) {
    const bool wanted = from.near[n] != 0 && fine[n] > 0.0F;
    const bool counts = wanted && from.cement[n] != 0;
    const float contrast = wanted ? (fine[n] < kMostContrast ? fine[n] : kMostContrast) : 0.0F;
    // Scatter has fallen with the primary around.
    const float fallen = exponential(-scatter[n]), through = exponential(-contrast) * fallen;
    const float less = shares[n] - (1.0F - fallen), share = less > 0.0F ? less : 0.0F, kept = 1.0F - shares[n];
    const float left = (through - share) / kept;
    const float most = left < 1.0F ? left : 1.0F, primary = most > kLeastPrimary ? most : kLeastPrimary;
    const float place = -logarithm(primary) * per_step;
    const float low = place > 0.0F ? place : 0.0F;
    const auto entry = static_cast<std::int32_t>(low < last ? low : last);
    const float part = place - static_cast<float>(entry);
    const float slope = millimetres[entry + 1] - millimetres[entry];
    const float told = millimetres[entry] + slope * (part < 1.0F ? part : 1.0F);
    const float per_contrast = slope * per_step * through / (primary * kept);
    thickness[n] = wanted ? told : 0.0F;
    loss[n] = counts ? from.signal[n] * (1.0F - primary) : 0.0F;
    slopes[n] = counts ? per_contrast : 0.0F;
    noise[n] = counts ? per_contrast * per_contrast * (from.spread[n] + reference_share * from.variance[n]) : 0.0F;
  }
}

}  // namespace guidance::cement
